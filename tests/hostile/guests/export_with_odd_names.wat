;; Exports whose names are Python's, a terminal's or a path's; none of them is a hook.
;;
;; answer = "page"
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0))
  (func (export "__class__") (param $len i32) (result i64)
    unreachable)
  (func (export "../../x") (param $len i32) (result i64)
    unreachable)
  (func (export "\1b[2J") (param $len i32) (result i64)
    unreachable)
  (func (export "") (param $len i32) (result i64)
    unreachable))
