;; Two functions call each other through a table until the stack is used up.
;;
;; answer = "problem"
;; log = "stack overflow"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (call_indirect (type $t) (local.get $len) (i32.const 0)))
  (type $t (func (param i32) (result i64)))
  (table funcref (elem $a $b))
  (func $a (type $t) (i64.add (call_indirect (type $t) (local.get 0) (i32.const 1)) (i64.const 1)))
  (func $b (type $t) (i64.add (call_indirect (type $t) (local.get 0) (i32.const 0)) (i64.const 1))))
