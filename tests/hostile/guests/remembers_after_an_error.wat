;; The guest keeps something, then declares an error, which leaves the instance in use.
;;
;; hits = 8
;; answer = "problem"
;; log = "oops"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\nisolation = 'request'")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (if (i32.load (i32.const 1024)) (then (unreachable)))
    (i32.store (i32.const 1024) (i32.const 1))
    (i64.const 0x00000800_80000004))
  (data (i32.const 2048) "oops"))
