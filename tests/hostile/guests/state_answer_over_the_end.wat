;; A number is added up, and is to be written over the memory's end: nothing is added.
;;
;; answer = "problem"
;; log = "8 bytes at 262140 are outside the guest's memory of 262144 bytes"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "plugin_host" "state_add" (func $add (param i32 i32 i32 i64 i64 i64 i64 i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (drop (call $add (i32.const 0) (i32.const 1024) (i32.const 1) (i64.const 1) (i64.const 0) (i64.const -1) (i64.const 0x7fffffffffffffff) (i32.const 262140)))
    (i64.const 0)))
