;; `ph_alloc` is a global.
;;
;; refused = "does not export the function ph_alloc: there is a global of that name"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0))
  (global (export "ph_alloc") i32 (i32.const 4096)))
