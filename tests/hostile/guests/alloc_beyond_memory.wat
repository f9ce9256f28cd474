;; `ph_alloc` returns a pointer behind the memory's end.
;;
;; refused = "its initialisation failed: malformed result at byte 0: ph_alloc(4096) returned 1048576: the buffer ends outside the memory of 262144 bytes"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 0x10_0000))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0)))
