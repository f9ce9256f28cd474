;; An answer 304 with a body, which the client would take for the next response.
;;
;; answer = "problem"
;; log = "a body does not go with status 204, 205 or 304"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0x00000400_00000029))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\0a\00\00\00\02\00\00\00" "\30\01"
    "\07\00\00\00\13\00\00\00" "HTTP/1.1 200 OK\0d\0a\0d\0a"))
