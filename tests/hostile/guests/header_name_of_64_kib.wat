;; A header whose name is as long as a name can be.
;;
;; answer = "page"
;; log = "a header name is at most 256 bytes long"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 32)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_response") (param $len i32) (result i64)
    (local $at i32)
    (memory.copy (i32.const 0x10000) (i32.const 1024) (i32.const 12))
    (memory.fill (i32.const 0x1000c) (i32.const 97) (i32.const 65535))
    (i64.const 0x00010000_0001000b))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\01\00\ff\ff\00\00\00\00"))
