;; AssemblyScript's abort, with a message of 2^32 - 1 bytes, line ends and commands for terminals.
;;
;; answer = "problem"
;; log = "aborted: a\\r\\nERROR forged"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (call $abort (i32.const 1024) (i32.const 0) (i32.const 1) (i32.const 1))
    (i64.const 0))
  (data (i32.const 1020)
    "\ff\ff\ff\ff"
    "\61\00\0d\00\0a\00\45\00\52\00\52\00\4f\00\52\00\20\00\66\00\6f\00\72\00\67\00\65\00\64\00\1b\00\5b\00\32\00\4a\00"))
