;; A thousand metrics: those that are too many are not kept.
;;
;; answer = "page"
;; log = "is not kept: a plugin has at most 64 names"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "plugin_host" "counter" (func $counter (param i32 i32 i64)))
  (import "plugin_host" "histogram" (func $histogram (param i32 i32 i64)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64) (local $i i32)
    (loop $more
      (call $counter (i32.const 1024) (i32.const 3) (i64.const 0x7fffffffffffffff))
      (i32.store8 (i32.const 1025) (i32.add (i32.const 97) (i32.rem_u (local.get $i) (i32.const 26))))
      (i32.store8 (i32.const 1026) (i32.add (i32.const 97) (i32.div_u (local.get $i) (i32.const 40))))
      (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))
    (i64.const 0))
  (data (i32.const 1024) "aaa"))
