;; A manifest whose arrays lie in each other, fifty thousand deep.
;;
;; refused = ["deep", "nest", "TOML", "recursion"]
(module
  (@custom "plugin_host.manifest" "config.a = {{50000*[}}")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0)))
