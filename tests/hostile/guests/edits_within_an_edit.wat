;; A body that is itself an edit list is a body.
;;
;; answer = { body = "\u0001\u0003\u0000\u0000\u000b\u0000\u0000\u0000\u0002\u0000\u0000\u0000\u00f4\u0001" }
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_response") (param $len i32) (result i64)
    (i64.const 0x00000400_0000001a))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\07\00\00\00\0e\00\00\00" "\01\03\00\00\0b\00\00\00\02\00\00\00\f4\01"))
