;; The guest traps if the buffer still holds the rest of a longer request.
;;
;; hits = 8
;; send = 8000
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\nisolation = 'request'")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (if (i32.load8_u (i32.const 0x8000)) (then (unreachable)))
    (memory.fill (i32.const 0x8000) (i32.const 1) (i32.const 100))
    (i64.const 0)))
