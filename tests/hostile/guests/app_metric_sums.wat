;; Values are observed whose sum is more than a number can be, and would spoil the status.
;;
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "plugin_host" "counter" (func $counter (param i32 i32 i64)))
  (import "plugin_host" "histogram" (func $histogram (param i32 i32 i64)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (call $histogram (i32.const 1024) (i32.const 1) (i64.const 0x7fefffffffffffff))
    (call $histogram (i32.const 1024) (i32.const 1) (i64.const 0x7fefffffffffffff))
    (i64.const 0))
  (data (i32.const 1024) "a"))
