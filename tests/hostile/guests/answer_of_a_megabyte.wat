;; An answer that is as large as answers may be.
;;
;; answer = { without = ["content-type"], length = 1000000 }
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 32)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (memory.copy (i32.const 0x10000) (i32.const 1024) (i32.const 22))
    (memory.fill (i32.const 0x10016) (i32.const 97) (i32.const 1000000))
    (i64.const 0x00010000_000f4256))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\0a\00\00\00\02\00\00\00" "\c8\00"
    "\07\00\00\00\40\42\0f\00"))
