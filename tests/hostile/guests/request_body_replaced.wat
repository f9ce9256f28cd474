;; A request's body is replaced by one of another length.
;;
;; send = 8000
;; answer = { page = { body = "x=1&y=2&and so on" } }
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0x00000400_0000001d))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\07\00\00\00\11\00\00\00" "x=1&y=2&and so on"))
