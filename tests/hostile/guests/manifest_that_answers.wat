;; A business hook that always fails, and an answer that does not fit.
;;
;; request = "GET /ask"
;; answer = "default"
;; log = "policy skip (the answer does not fit 'ask'"
(module
  (@custom "plugin_host.manifest" "on_failure.ask.answer = 'text'")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "ask") (param $len i32) (result i64)
    (unreachable)))
