;; `ph_alloc` returns 0.
;;
;; refused = "its initialisation failed: malformed result at byte 0: ph_alloc(4096) returned 0: a pointer is a multiple of 8 and not 0"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 0))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0)))
