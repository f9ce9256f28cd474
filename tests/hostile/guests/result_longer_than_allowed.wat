;; A result that lies in memory and is longer than the host allows.
;;
;; answer = "problem"
;; log = "the result's length is 1048577, at most 1048576"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 32)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0x00001000_00100001)))
