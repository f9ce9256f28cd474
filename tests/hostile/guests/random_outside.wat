;; Random bytes are wanted over the memory's end.
;;
;; answer = "problem"
;; log = "2 bytes at 262143 are outside"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "plugin_host" "random" (func $random (param i32 i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (call $random (i32.const 0x3ffff) (i32.const 2))
    (i64.const 0)))
