;; A response hook sets a Content-Location that ends within a host.
;;
;; answer = "page"
;; log = "malformed result at byte 28: Location and Content-Location are URLs"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_response") (param $len i32) (result i64)
    (i64.const 0x00000400_00000024))
  (data (i32.const 1024)
    "\01\03\00\00\01\00\10\00\08\00\00\00Content-Locationhttp://["))
