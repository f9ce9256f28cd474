;; A thousand and one imports of the same function.
;;
;; refused = "has 1001 imports, where at most 1000 are allowed"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  {{1001*(import "plugin_host" "now" (func (param i32) (result i64)))
  }}
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0)))
