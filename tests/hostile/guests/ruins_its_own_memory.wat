;; Every call overwrites all of its own memory, data and buffer included.
;;
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (memory.fill (i32.const 0) (i32.const 255) (i32.const 0x4_0000))
    (i64.const 0)))
