;; `ph_alloc` returns the memory's last eight bytes for a buffer of four kilobytes.
;;
;; refused = "its initialisation failed: malformed result at byte 0: ph_alloc(4096) returned 262136: the buffer ends outside"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 0x3fff8))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0)))
