;; A value is put under a key outside the memory.
;;
;; answer = "problem"
;; log = "16 bytes at 4294967288 are outside the guest's memory of 262144 bytes"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "plugin_host" "state_put" (func $put (param i32 i32 i32 i32 i32 i64) (result i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (drop (call $put (i32.const 0) (i32.const -8) (i32.const 16) (i32.const 0) (i32.const 1) (i64.const 0x7fffffffffffffff)))
    (i64.const 0)))
