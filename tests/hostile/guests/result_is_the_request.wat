;; The result is the request's own record, where the host has put it.
;;
;; answer = "problem"
;; log = "an edit list starts with version 1, kind 3 and two zero bytes"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.or (i64.const 0x00001000_00000000) (i64.extend_i32_u (local.get $len)))))
