;; A trap in functions whose names have line ends and commands for terminals.
;;
;; answer = "problem"
;; log = "unreachable (in "
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (call $evil)
    (i64.const 0))
  (func $evil (@name "a\0d\0aERROR forged\1b[2J\c2\9b31m\e2\80\ae") unreachable))
