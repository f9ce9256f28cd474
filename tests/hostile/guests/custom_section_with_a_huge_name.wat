;; A custom section whose name is two kilobytes long: as wide, lines about two hundred of them would be.
;;
;; refused = "has a custom section with a name of 2000 bytes, where at most 1000 are allowed"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (@custom "{{2000*a}}" "")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0)))
