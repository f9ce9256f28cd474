;; Ten thousand lines in each call.
;;
;; answer = "page"
;; log = "more than 10 lines per second: suppressing them"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "plugin_host" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (local $n i32)
    (loop $next
      (call $log (i32.const 3) (i32.const 0) (i32.const 8))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $n) (i32.const 10000))))
    (i64.const 0))
  (data (i32.const 0) "flooding"))
