;; The guest traps if it finds in a global that it was called before.
;;
;; hits = 12
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\nisolation = 'request'")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (if (i32.gt_u (global.get $calls) (i32.const 1)) (then (unreachable)))
    (if (i32.load (i32.const 1024)) (then (unreachable)))
    (i32.store (i32.const 1024) (i32.load (i32.const 4096)))
    (i64.const 0))
  (global $calls (mut i32) (i32.const 0)))
