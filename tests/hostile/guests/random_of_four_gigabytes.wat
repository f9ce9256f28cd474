;; 2^32 - 1 random bytes are wanted at once.
;;
;; answer = "problem"
;; log = "asked for 4294967295 random bytes, at most 65536 at once"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "plugin_host" "random" (func $random (param i32 i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (call $random (i32.const 0) (i32.const -1))
    (i64.const 0)))
