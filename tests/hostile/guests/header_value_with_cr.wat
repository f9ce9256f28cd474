;; A response header whose value has CR.
;;
;; answer = "page"
;; log = "a header value has no control characters other than tab"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_response") (param $len i32) (result i64)
    (i64.const 0x00000400_00000020))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\02\00\03\00\11\00\00\00" "x-a" "a\0dset-cookie: s=1"))
