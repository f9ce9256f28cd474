;; A request gets thirty headers of the longest value that there may be, which every plugin after it would be passed.
;;
;; answer = "problem"
;; log = "the headers of a list have at most 131072 bytes"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\non_failure = 'fail'\n")
  (memory (export "memory") 32)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (local $at i32)
    (i32.store (i32.const 0x10000) (i32.const 0x301))
    (local.set $at (i32.const 0x10004))
    (memory.fill (local.get $at) (i32.const 97) (i32.const 983310))
    (loop $next
      (i64.store (local.get $at) (i64.const 0x00008000_0001_00_02))
      (local.set $at (i32.add (local.get $at) (i32.const 32777)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 1048850))))
    (i64.const 0x00010000_000f0112)))
