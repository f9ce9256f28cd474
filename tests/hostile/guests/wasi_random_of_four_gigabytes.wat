;; WASI is asked for 2^32 - 1 random bytes.
;;
;; answer = "problem"
;; log = "outside the guest's memory"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (drop (call $random_get (i32.const 0) (i32.const -1)))
    (i64.const 0)))
