;; A hook that always fails, and a fixed response for it.
;;
;; answer = { status = 418, headers = { content-type = "text/plain; charset=utf-8" }, body = "short and stout" }
;; log = "policy respond"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\non_failure.on_request.respond = { status = 418, body = 'short and stout' }")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (unreachable)))
