;; An answer has the server in front send one of its own files, spelled as some servers take it, too.
;;
;; answer = "problem"
;; log = "malformed result at byte 22: headers that belong to the server are left alone"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0x00000400_0000002b))
  (data (i32.const 1024)
    "\01\03\00\00\0a\00\00\00\02\00\00\00\c8\00\01\00\0a\00\0b\00\00\00X_Sendfile/etc/passwd"))
