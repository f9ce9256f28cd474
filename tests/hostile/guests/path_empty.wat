;; A path of nothing.
;;
;; answer = "problem"
;; log = "a path starts with /"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0x00000400_0000000c))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\04\00\00\00\00\00\00\00"))
