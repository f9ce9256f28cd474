;; A response hook sets 205, which has no body, on a response that has a part of one.
;;
;; request = "GET /hit/206"
;; answer = { status = 205, headers = { content-range = "bytes 0-3/10", content-type = "text/plain; charset=utf-8" }, body = "" }
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_response") (param $len i32) (result i64)
    (i64.const 0x00000400_0000000e))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\0b\00\00\00\02\00\00\00" "\cd\00"))
