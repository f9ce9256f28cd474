;; A key of the session of 2^32 - 1 bytes.
;;
;; answer = "problem"
;; log = "a session's key has at most 256 bytes"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "plugin_host" "session_get" (func $session (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (drop (call $session (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 0)))
    (i64.const 0)))
