;; A recursion each of whose frames is large enough to jump over a guard page.
;;
;; answer = "problem"
;; log = "stack overflow"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (call $deeper (i64.extend_i32_u (local.get $len))))
  (func $deeper (param $n i64) (result i64) (local {{900*i64 }})
    {{900*(local.set {i} (i64.add (local.get $n) (i64.const {i}))) }}
    (drop (call $deeper (local.get $n)))
    {{900*(local.get {i}) }} {{899*i64.add }}))
