;; An answer whose Location has a port that there is not.
;;
;; answer = "problem"
;; log = "malformed result at byte 30: Location and Content-Location are URLs"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0x00000400_00000033))
  (data (i32.const 1024)
    "\01\03\00\00\0a\00\00\00\02\00\00\00.\01\01\00\08\00\15\00\00\00Location//evil.example:99999/"))
