;; A method of a million bytes.
;;
;; answer = "problem"
;; log = "malformed result at byte 8: a method is at most 64 bytes long"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 32)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (memory.copy (i32.const 0x10000) (i32.const 1024) (i32.const 12))
    (memory.fill (i32.const 0x1000c) (i32.const 65) (i32.const 1000000))
    (i64.const 0x00010000_000f424c))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\06\00\00\00\40\42\0f\00"))
