;; A memory is imported instead of exported.
;;
;; refused = "imports env.memory, which this host does not offer"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "env" "memory" (memory 1))
  (export "memory" (memory 0))
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0)))
