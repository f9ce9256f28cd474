;; A response hook that always fails, and a fixed response in place of the view's.
;;
;; answer = { status = 503, body = { retry = true }, without = ["x-neighbour"] }
;; log = "policy respond"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\non_failure.on_response.respond = { status = 503, json = { retry = true } }")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_response") (param $len i32) (result i64)
    (unreachable)))
