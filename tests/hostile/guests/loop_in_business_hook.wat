;; A business hook never returns.
;;
;; request = "GET /ask"
;; answer = "default"
;; log = "missed its deadline of 20 ms"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\nlimits.timeout_ms = 20")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "ask") (param $len i32) (result i64)
    (loop $for_ever (br $for_ever))
    (i64.const 0)))
