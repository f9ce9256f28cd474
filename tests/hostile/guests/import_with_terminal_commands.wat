;; An import whose name has line ends and commands for terminals.
;;
;; refused = "imports plugin_host."
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "plugin_host" "\0d\0aERROR forged\1b[2J\c2\9b31m" (func))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0)))
