;; A namespace is opened by guessing its handle.
;;
;; answer = "problem"
;; log = "4294967295 is no handle of a namespace"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "plugin_host" "state_get" (func $get (param i32 i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (drop (call $get (i32.const -1) (i32.const 1024) (i32.const 1) (i32.const 0) (i32.const 0)))
    (i64.const 0)))
