;; A business hook's answer is half a million arrays in each other.
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
    (memory.fill (i32.const 0x10000) (i32.const 91) (i32.const 500000))
    (i64.const 0x00010000_0007a120)))
