;; All memory that can be addressed is asked for at once; refused, the guest goes on.
;;
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (if (i32.ne (memory.grow (i32.const 65532)) (i32.const -1))
      (then (unreachable)))
    (i64.const 0)))
