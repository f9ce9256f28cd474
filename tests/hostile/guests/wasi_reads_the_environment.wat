;; WASI is asked for the environment, where secrets are.
;;
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (if (call $environ_sizes_get (i32.const 1000) (i32.const 1004)) (then (unreachable)))
    (if (i64.ne (i64.load (i32.const 1000)) (i64.const 0)) (then (unreachable)))
    (i64.const 0)))
