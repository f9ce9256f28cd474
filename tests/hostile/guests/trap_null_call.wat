;; A call of an element that holds no function.
;;
;; answer = "problem"
;; log = "indirect call to null"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (call_indirect (type $t) (local.get $len) (i32.const 3)))
  (type $t (func (param i32) (result i64)))
  (type $u (func))
  (table 4 funcref)
  (elem (i32.const 0) $void)
  (func $void))
