;; `ph_alloc` takes a megabyte each time that it is called.
;;
;; hits = 12
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "on_request") (param $len i32) (result i64)
    (drop (call $ph_alloc (i32.const 8)))
    (i64.const 0))
  (func $ph_alloc (export "ph_alloc") (param i32) (result i32)
    (drop (memory.grow (i32.const 16)))
    (i32.const 4096)))
