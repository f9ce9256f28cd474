;; A function calls itself without end.
;;
;; answer = "problem"
;; log = "stack overflow"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (call $deeper (local.get $len)))
  (func $deeper (param i32) (result i64)
    (i64.add (call $deeper (local.get 0)) (i64.const 1))))
