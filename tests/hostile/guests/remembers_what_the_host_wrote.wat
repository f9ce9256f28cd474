;; The guest traps if memory still holds what the host wrote there, over pages' ends and at the
;; memory's.
;;
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\nisolation = 'request'")
  (import "plugin_host" "random" (func $random (param i32 i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $fill (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64) (local $p i32)
    (local.set $p (i32.const 0x11ff0))
    (loop $look
      (if (i64.ne (i64.load (local.get $p)) (i64.const 0)) (then (unreachable)))
      (br_if $look (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 8))) (i32.const 0x40000))))
    (call $random (i32.const 0x11ff8) (i32.const 16))
    (call $random (i32.const 0x3fff8) (i32.const 8))
    (drop (call $fill (i32.const 0x20000) (i32.const 0x18000)))
    (i64.const 0)))
