;; An export whose name is two kilobytes long.
;;
;; refused = "has an export's name of 2000 bytes, where at most 1000 are allowed"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0))
  (export "{{2000*a}}" (memory 0)))
