;; A rule whose stars could be matched in billions of ways.
;;
;; answer = "page"
;; request = "GET /hit{{300*/a}}/y"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit{{10*/**}}/x']")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0)))
