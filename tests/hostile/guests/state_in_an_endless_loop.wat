;; Values are put without end.
;;
;; answer = "problem"
;; log = "missed its deadline of 20 ms"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\nlimits.timeout_ms = 20")
  (import "plugin_host" "state_put" (func $put (param i32 i32 i32 i32 i32 i64) (result i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (loop $for_ever
      (drop (call $put (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 0) (i32.const 65536) (i64.const 0x7fffffffffffffff)))
      (br $for_ever))
    (i64.const 0)))
