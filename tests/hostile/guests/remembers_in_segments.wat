;; The guest traps if a segment is gone that it dropped for another request.
;;
;; hits = 12
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\nisolation = 'request'")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (memory.init $d (i32.const 0) (i32.const 0) (i32.const 4))
    (data.drop $d)
    (i64.const 0))
  (data $d "here"))
