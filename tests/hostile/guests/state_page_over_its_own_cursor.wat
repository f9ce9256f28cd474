;; A page of keys is written over the prefix and the cursor that it was asked for with.
;;
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "plugin_host" "state_put" (func $put (param i32 i32 i32 i32 i32 i64) (result i32)))
  (import "plugin_host" "state_list" (func $list (param i32 i32 i32 i32 i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (drop (call $put (i32.const 0) (i32.const 1024) (i32.const 4) (i32.const 0) (i32.const 9) (i64.const 0x7fffffffffffffff)))
    (drop (call $list (i32.const 0) (i32.const 1024) (i32.const 2) (i32.const 1024) (i32.const 0) (i32.const 10) (i32.const 1020) (i32.const 64)))
    (if (i32.ne (i32.load (i32.const 1024)) (i32.const 4)) (then (unreachable)))
    (i64.const 0))
  (data (i32.const 1024) "keys"))
