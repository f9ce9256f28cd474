;; The guest traps if its memory has the size that another request gave it.
;;
;; hits = 12
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\nisolation = 'request'")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (if (i32.ne (memory.size) (i32.const 4)) (then (unreachable)))
    (drop (memory.grow (i32.const 1)))
    (i64.const 0)))
