;; 1001 edits.
;;
;; answer = "problem"
;; log = "a list has at most 1000 edits"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 32)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (local $at i32)
    (i32.store (i32.const 0x10000) (i32.const 0x301))
    (local.set $at (i32.const 0x10004))
    (loop $next
      (i64.store (local.get $at) (i64.const 0x00000000_0001_00_03))
      (i32.store8 offset=8 (local.get $at) (i32.const 97))
      (local.set $at (i32.add (local.get $at) (i32.const 9)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 74549))))
    (i64.const 0x00010000_00002335)))
