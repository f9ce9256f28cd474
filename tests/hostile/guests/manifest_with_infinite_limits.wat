;; A manifest that asks for infinite memory.
;;
;; refused = "limits.memory_mb"
(module
  (@custom "plugin_host.manifest" "limits.memory_mb = inf")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0)))
