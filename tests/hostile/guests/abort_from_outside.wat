;; AssemblyScript's abort, with a message outside the memory.
;;
;; answer = "problem"
;; log = "4 bytes at 4294967290 are outside"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (call $abort (i32.const -2) (i32.const -2) (i32.const -1) (i32.const -1))
    (i64.const 0)))
