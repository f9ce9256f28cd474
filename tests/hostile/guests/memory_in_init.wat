;; `ph_init` takes all memory that is allowed and writes to all of it.
;;
;; hits = 20
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0))
  (func (export "ph_init") (param $len i32) (result i64)
    (drop (memory.grow (i32.const 60)))
    (memory.fill (i32.const 0) (i32.const 170) (i32.const 0x40_0000))
    (i64.const 0)))
