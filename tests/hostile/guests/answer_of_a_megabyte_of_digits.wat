;; A business hook's answer is a number of a million digits.
;;
;; request = "GET /ask"
;; answer = "default"
;; log = "the answer does not fit 'ask'"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 32)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "ask") (param $len i32) (result i64)
    (memory.fill (i32.const 0x10000) (i32.const 57) (i32.const 1000000))
    (i64.const 0x00010000_000f4240)))
