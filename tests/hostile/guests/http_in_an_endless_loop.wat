;; Requests that no rule allows, without end.
;;
;; answer = "problem"
;; log = "missed its deadline of 20 ms"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\nlimits.timeout_ms = 20")
  (import "plugin_host" "http_send" (func $http_send (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (loop $for_ever
      (drop (call $http_send (i32.const 1024) (i32.const 31)))
      (br $for_ever))
    (i64.const 0))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\04\00\00\00\13\00\00\00" "http://127.0.0.1:1/"))
