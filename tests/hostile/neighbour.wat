;; The neighbour of every hostile guest: it does a little in each kind of hook, and must go on.
(module
  (@custom "plugin_host.manifest" "needs = { on_request = [], on_response = [] }")
  (memory (export "memory") 2)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  ;; sets neighbour on g
  (func (export "on_request") (param $len i32) (result i64) (i64.const 0x00000400_00000019))
  ;; adds the header x-neighbour
  (func (export "on_response") (param $len i32) (result i64) (i64.const 0x00000500_0000001b))
  ;; answers with its payload
  (func (export "mirror") (param $len i32) (result i64)
    (i64.or (i64.const 0x00001000_00000000) (i64.extend_i32_u (local.get $len))))
  (data (i32.const 1024) "\01\03\00\00" "\08\00\09\00\04\00\00\00" "neighbour" "here")
  (data (i32.const 1280) "\01\03\00\00" "\02\00\0b\00\04\00\00\00" "x-neighbour" "here"))
