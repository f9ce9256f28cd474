;; WASI is asked to write 2^32 - 1 bytes at the memory's end.
;;
;; answer = "problem"
;; log = "65536 bytes at 262128 are outside"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i32.store (i32.const 1024) (i32.const 0x3fff0))
    (i32.store (i32.const 1028) (i32.const -1))
    (drop (call $fd_write (i32.const 1) (i32.const 1024) (i32.const 1) (i32.const 1000)))
    (i64.const 0)))
