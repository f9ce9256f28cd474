;; The log is given 2^32 - 1 bytes near the memory's end.
;;
;; answer = "problem"
;; log = "8192 bytes at 262128 are outside"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "plugin_host" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (call $log (i32.const 3) (i32.const 0x3fff0) (i32.const -1))
    (i64.const 0)))
