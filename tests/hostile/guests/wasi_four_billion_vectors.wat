;; WASI is asked to write 2^32 - 1 vectors, and to wait for as many clocks.
;;
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (if (i32.ne (call $fd_write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 1000)) (i32.const 28))
      (then (unreachable)))
    (if (i32.ne (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 1000)) (i32.const 28))
      (then (unreachable)))
    (i64.const 0)))
