;; A response hook gives a response without a body one.
;;
;; request = "GET /hit/304"
;; answer = { status = 304, without = ["content-type"], body = "" }
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_response") (param $len i32) (result i64)
    (i64.const 0x00000400_0000001f))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\07\00\00\00\13\00\00\00" "HTTP/1.1 200 OK\0d\0a\0d\0a"))
