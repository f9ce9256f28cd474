;; A load whose address and offset pass 2^32.
;;
;; answer = "problem"
;; log = "memory out of bounds"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.load offset=0xffff_ffff (i32.const -1))))
