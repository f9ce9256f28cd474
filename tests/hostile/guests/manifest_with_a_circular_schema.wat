;; A schema that refers to itself.
;;
;; refused = ["schema", "circular", "recurs"]
(module
  (@custom "plugin_host.manifest" "config.a = 1\nconfig_schema.properties.a = { '$ref' = '#/properties/a' }")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0)))
