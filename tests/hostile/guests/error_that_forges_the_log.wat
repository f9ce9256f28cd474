;; An error whose message has line ends and commands for terminals.
;;
;; answer = "problem"
;; log = "line one"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0x00000400_8000002c))
  (data (i32.const 1024)
    "line one\0d\0aERROR forged\1b[2J\00\9b31m\c2\9b31m \e2\80\a8\e2\80\ae\ff"))
