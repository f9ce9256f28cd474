;; An edit list of version 2.
;;
;; answer = "problem"
;; log = "an edit list starts with version 1"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0x00000400_00000004))
  (data (i32.const 1024)
    "\02\03\00\00"))
