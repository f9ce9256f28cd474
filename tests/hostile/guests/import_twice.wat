;; A known function twice, with two types.
;;
;; refused = "imports plugin_host.log as (i64) -> (), which cannot be linked"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "plugin_host" "log" (func $log (param i32 i32 i32)))
  (import "plugin_host" "log" (func (param i64)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0)))
