;; WASI is made to fill all memory with random bytes in one call, without end.
;;
;; answer = "problem"
;; log = "missed its deadline of 20 ms"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\nlimits.timeout_ms = 20")
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (loop $for_ever
      (drop (call $random_get (i32.const 0) (i32.const 0x4_0000)))
      (br $for_ever))
    (i64.const 0)))
