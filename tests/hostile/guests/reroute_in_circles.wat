;; A plugin that turns GET into POST and POST into GET, in three copies.
;;
;; copies = 3
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (select (i64.const 0x00000400_00000010) (i64.const 0x00000500_0000000f)
      (i32.eq (i32.load8_u offset=16 (i32.const 0x1000)) (i32.const 71))))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\06\00\00\00\04\00\00\00" "POST")
  (data (i32.const 1280)
    "\01\03\00\00"
    "\06\00\00\00\03\00\00\00" "GET"))
