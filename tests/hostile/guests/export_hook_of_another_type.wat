;; `on_request` takes five floats, and gives two.
;;
;; refused = "exports on_request as (f64, f64, f64, f64, f64) -> (f64, f64)"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_response") (param $len i32) (result i64)
    (i64.const 0))
  (func (export "on_request") (param f64 f64 f64 f64 f64) (result f64 f64)
    (f64.const nan) (f64.const inf)))
