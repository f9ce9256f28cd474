;; `ph_alloc` returns another pointer each time, all of them good.
;;
;; send = 8000
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32)
    (global.set $next (i32.add (global.get $next) (i32.const 8)))
    (global.get $next))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0))
  (global $next (mut i32) (i32.const 4096)))
