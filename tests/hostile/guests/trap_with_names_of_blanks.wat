;; A trap in a function whose name is a line of blanks, in which to look for a frame takes the square of its
;; length.
;;
;; answer = "problem"
;; log = "unreachable (in a"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64) 
    (call $deep (i32.const 30))
    (i64.const 0))
  (func $deep (@name "a\0a{{500000* }}x") (param i32)
    (if (i32.eqz (local.get 0)) (then (unreachable)))
    (call $deep (i32.sub (local.get 0) (i32.const 1)))))
