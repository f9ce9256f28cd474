;; A segment is used after it was dropped.
;;
;; answer = "problem"
;; log = "memory out of bounds"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (data.drop $d)
    (memory.init $d (i32.const 0) (i32.const 0) (i32.const 4))
    (i64.const 0))
  (data $d "gone"))
