;; Every call takes a page more and keeps it.
;;
;; hits = 40
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (local $page i32)
    (local.set $page (memory.grow (i32.const 4)))
    (if (i32.eq (local.get $page) (i32.const -1)) (then (unreachable)))
    (memory.fill (i32.shl (local.get $page) (i32.const 16)) (i32.const 170) (i32.const 0x4_0000))
    (i64.const 0)))
