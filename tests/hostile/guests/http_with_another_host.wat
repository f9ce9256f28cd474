;; A request to one host that says it is for another.
;;
;; answer = "problem"
;; log = "ost"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "plugin_host" "http_send" (func $http_send (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (drop (call $http_send (i32.const 1024) (i32.const 50)))
    (i64.const 0))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\04\00\00\00\11\00\00\00" "http://a.example/"
    "\01\00\04\00\09\00\00\00" "Host" "127.0.0.1"))
