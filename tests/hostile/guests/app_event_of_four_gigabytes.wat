;; An event whose data claim 2^32 - 1 bytes.
;;
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "plugin_host" "emit" (func $emit (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (drop (call $emit (i32.const 1024) (i32.const 5) (i32.const 0) (i32.const -1)))
    (i64.const 0))
  (data (i32.const 1024) "event"))
