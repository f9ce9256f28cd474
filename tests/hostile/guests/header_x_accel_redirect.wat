;; A response hook has the server in front send one of its own files.
;;
;; answer = "page"
;; log = "malformed result at byte 12: headers that belong to the server are left alone"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_response") (param $len i32) (result i64)
    (i64.const 0x00000400_0000002d))
  (data (i32.const 1024)
    "\01\03\00\00\01\00\10\00\11\00\00\00X-Accel-Redirect/private/keys.pem"))
