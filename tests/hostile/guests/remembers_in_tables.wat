;; The guest traps if it finds in a table what it put there for another request.
;;
;; hits = 12
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\nisolation = 'request'")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (if (i32.eqz (ref.is_null (table.get (i32.const 0)))) (then (unreachable)))
    (table.set (i32.const 0) (ref.func $f))
    (i64.const 0))
  (table 1 funcref)
  (elem declare func $f)
  (func $f))
