;; A context that is one byte longer than contexts may be.
;;
;; answer = "problem"
;; log = "a context is at most 65536 bytes long"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 32)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (memory.copy (i32.const 0x10000) (i32.const 1024) (i32.const 12))
    (i64.const 0x00010000_0001000d))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\09\00\00\00\01\00\01\00"))
