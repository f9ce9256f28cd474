;; Two functions call each other through a table, without end and without stack.
;;
;; answer = "problem"
;; log = "missed its deadline of 20 ms"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\nlimits.timeout_ms = 20")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (return_call_indirect (type $t) (local.get $len) (i32.const 0)))
  (type $t (func (param i32) (result i64)))
  (table funcref (elem $a $b))
  (func $a (type $t) (return_call_indirect (type $t) (local.get 0) (i32.const 1)))
  (func $b (type $t) (return_call_indirect (type $t) (local.get 0) (i32.const 0))))
