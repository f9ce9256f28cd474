;; A guest that asks the app, which calls the same guest for the answer, which asks the app, without
;; end.
;;
;; answer = "problem"
;; log = "missed its deadline of 20 ms"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\nlimits.timeout_ms = 20")
  (import "plugin_host" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (call $ask)
    (i64.const 0))
  (func (export "ask") (param $len i32) (result i64)
    (call $ask)
    (i64.const 0))
  (func $ask
    (loop $for_ever
      (drop (call $call (i32.const 1024) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
      (br $for_ever)))
  (data (i32.const 1024) "again"))
