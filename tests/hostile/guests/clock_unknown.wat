;; The time of a clock that there is not.
;;
;; answer = "problem"
;; log = "clock 4294967295 is neither 0 (Unix time) nor 1"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "plugin_host" "now" (func $now (param i32) (result i64)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (call $now (i32.const -1))))
