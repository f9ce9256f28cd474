;; An edit whose name claims 65 535 bytes.
;;
;; answer = "problem"
;; log = "malformed result at byte 6: an edit lies wholly inside"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0x00000400_00000010))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\01\00\ff\ff\01\00\00\00" "x-a" "1"))
