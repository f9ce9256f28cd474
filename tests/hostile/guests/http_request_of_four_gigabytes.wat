;; A request of 2^32 - 1 bytes is to be sent.
;;
;; answer = "problem"
;; log = "an HTTP request has at most 1048576 bytes"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "plugin_host" "http_send" (func $http_send (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (drop (call $http_send (i32.const 1024) (i32.const -1)))
    (i64.const 0)))
