;; A path with percent signs, which are themselves: paths are decoded already.
;;
;; answer = { page = { path = "/hit/%2e%2e/%00%0d%0a" } }
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0x00000400_00000021))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\04\00\00\00\15\00\00\00" "/hit/%2e%2e/%00%0d%0a"))
