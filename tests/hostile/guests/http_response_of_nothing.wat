;; A response is read that was never asked for.
;;
;; answer = "problem"
;; log = "http"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "plugin_host" "http_receive" (func $http_receive (param i32 i32 i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (call $http_receive (i32.const 1024) (i32.const 0) (i32.const 1))
    (i64.const 0)))
