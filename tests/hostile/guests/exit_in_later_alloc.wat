;; The guest exits when its buffer has to grow for a client's large body.
;;
;; send = 9000
;; answer = "problem"
;; log = "the guest exited with code 0"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) 
    (if (i32.gt_u (local.get $size) (i32.const 5000)) (then (call $exit (i32.const 0))))
    (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (nop)
    (i64.const 0)))
