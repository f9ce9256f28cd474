;; A result of 2^31 - 1 bytes.
;;
;; answer = "problem"
;; log = "the result's length is 2147483647, at most 1048576 bytes are allowed"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0x00000400_7fffffff)))
