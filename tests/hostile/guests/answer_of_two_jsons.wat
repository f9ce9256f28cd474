;; A business hook's answer is two.
;;
;; request = "GET /ask"
;; answer = "default"
;; log = "the answer does not fit 'ask'"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "ask") (param $len i32) (result i64)
    (i64.const 0x00000400_00000003))
  (data (i32.const 1024)
    "1 2"))
