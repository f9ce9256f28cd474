;; An element from behind the table's end.
;;
;; answer = "problem"
;; log = "table out of bounds"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (drop (table.get (i32.const -1)))
    (i64.const 0))
  (type $t (func (param i32) (result i64)))
  (type $u (func))
  (table 4 funcref)
  (elem (i32.const 0) $void)
  (func $void))
