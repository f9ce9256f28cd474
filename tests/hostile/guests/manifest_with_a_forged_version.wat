;; A version with commands for terminals.
;;
;; refused = "version"
(module
  (@custom "plugin_host.manifest" "version = \22\5cu001b[2J\5cu202e\22")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0)))
