;; A path that a rule of its own would be held against for minutes: its stars cost the length's square.
;;
;; answer = { page = { path = "/{{16000*a}}" } }
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit', '/**a*a*b/**', '/**a*a*b']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (memory.copy (i32.const 0x10000) (i32.const 1024) (i32.const 13))
    (memory.fill (i32.const 0x1000d) (i32.const 97) (i32.const 16000))
    (i64.const 0x00010000_00003e8d))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\04\00\00\00\81\3e\00\00" "/"))
