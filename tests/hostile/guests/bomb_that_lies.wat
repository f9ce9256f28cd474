;; Three calls are well; the fourth returns memory that there is not.
;;
;; hits = 12
;; answers = ["page", "page", "page", "problem"]
;; log = "the result is outside the memory"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (if (i32.gt_u (global.get $calls) (i32.const 3))
      (then (return (i64.const -0x7fff))))
    (i64.const 0))
  (global $calls (mut i32) (i32.const 0)))
