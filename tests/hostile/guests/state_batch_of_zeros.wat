;; Four megabytes of zeros are put as packed keys and values: half a million empty ones.
;;
;; answer = "page"
;; log = "batch: more than 1000 keys in one operation"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "plugin_host" "state_put_many" (func $put_many (param i32 i32 i32 i64) (result i32)))
  (memory (export "memory") 64)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (drop (call $put_many (i32.const 0) (i32.const 65536) (i32.const 4000000) (i64.const 0x7fffffffffffffff)))
    (i64.const 0)))
