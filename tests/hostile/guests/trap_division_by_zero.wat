;; A division by zero.
;;
;; answer = "problem"
;; log = "integer division by zero"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.div_u (i64.const 1) (i64.extend_i32_u (i32.sub (local.get $len) (local.get $len))))))
