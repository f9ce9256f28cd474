;; `ph_alloc` is honest at first, and lies when a client has sent a large body.
;;
;; send = 8000
;; answer = "problem"
;; log = "ph_alloc("
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32)
    (select (i32.const 4096) (i32.const 0x3fff8)
      (i32.le_u (local.get $size) (i32.const 4096))))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0)))
