;; A fixed response whose header has a line end.
;;
;; refused = "on_failure.on_request.respond.headers"
(module
  (@custom "plugin_host.manifest" "[on_failure.on_request.respond.headers]\nx-a = \22a\5cr\5cnset-cookie: s=1\22")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0)))
