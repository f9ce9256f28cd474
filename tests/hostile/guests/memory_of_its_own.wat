;; The manifest asks for four gigabytes; the app's own limit, which is lower, holds.
;;
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\nlimits.memory_mb = 4095")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (if (i32.ne (memory.grow (i32.const 100)) (i32.const -1))
      (then (unreachable)))
    (i64.const 0)))
