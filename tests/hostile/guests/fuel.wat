;; An endless loop under a limit of fuel, in a deadline that would let it go on.
;;
;; answer = "problem"
;; log = "used up its fuel of 100000"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\nlimits.fuel = 100000")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (loop $for_ever (br $for_ever))
    (i64.const 0)))
