;; `ph_alloc` takes and gives 64 bits.
;;
;; refused = "exports ph_alloc as (i64) -> (i64)"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0))
  (func (export "ph_alloc") (param i64) (result i64) (i64.const 4096)))
