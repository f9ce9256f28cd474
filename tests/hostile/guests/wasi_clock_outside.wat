;; WASI is asked to write the time outside the memory.
;;
;; answer = "problem"
;; log = "8 bytes at 4294967292 are outside"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const -4)))
    (i64.const 0)))
