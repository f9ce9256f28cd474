;; All memory is taken and written to, then the call traps: each call has a new instance.
;;
;; hits = 20
;; answer = "problem"
;; log = "unreachable"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (drop (memory.grow (i32.const 60)))
    (memory.fill (i32.const 0) (i32.const 170) (i32.const 0x40_0000))
    (unreachable)))
