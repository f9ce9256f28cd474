;; A hook is quick when it is called for nothing, and never returns in the plugin's own test.
;;
;; refused = "missed its deadline of 250 ms"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n[[selftest]]\nhook = 'on_request'")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (loop $for_ever (br $for_ever))
    (i64.const 0)))
