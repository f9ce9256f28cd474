;; WASI without a grant.
;;
;; refused = "does not ask for the capability 'log'"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\ncapabilities = []")
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0)))
