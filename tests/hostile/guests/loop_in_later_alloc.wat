;; `ph_alloc` never returns once a client has sent a large body.
;;
;; send = 8000
;; answer = "problem"
;; log = "missed its deadline of 20 ms"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\nlimits.timeout_ms = 20")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32)
    (if (i32.gt_u (local.get $size) (i32.const 4096))
      (then (loop $for_ever (br $for_ever))))
    (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0)))
