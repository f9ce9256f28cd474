;; A function whose loops lie in each other, which keeps a compiler busy for many seconds.
;;
;; refused = "takes more than 1 s of processor time to compile"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0))
  (func (param i32) (result i32)
    {{16000*loop }}
    local.get 0 {{1000*br_if {i} local.get 0 }} drop
    {{16000*end }} local.get 0))
