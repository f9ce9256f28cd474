;; A request header whose value would be two headers to the view.
;;
;; answer = "problem"
;; log = "a header value has no control characters other than tab"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0x00000400_0000001e))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\01\00\03\00\0f\00\00\00" "x-a" "a\0d\0ax-admin: yes"))
