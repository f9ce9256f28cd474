;; A GET becomes a HEAD, and the response hook sets a body.
;;
;; answer = { body = "next" }
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0x00000400_00000010))
  (func (export "on_response") (param $len i32) (result i64)
    (i64.const 0x00000500_00000010))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\06\00\00\00\04\00\00\00" "HEAD")
  (data (i32.const 1280)
    "\01\03\00\00"
    "\07\00\00\00\04\00\00\00" "next"))
