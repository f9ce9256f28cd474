;; A trap in functions that debugging information says are inlined into each other, thirty thousand deep:
;; an engine that looks them up overflows its stack.
;;
;; answer = "problem"
;; log = "unreachable (in "
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64) (unreachable))
  (@custom ".debug_abbrev" "\01\11\01\11\01\12\06\10\17\00\00\02.\00\03\08\20\0b\00\00\03.\01\03\08\11\01\12\06\00\00d\1d\011\11\11\01\12\0b\00\00\00")
  (@custom ".debug_info"
    "\a5\a9\03\00\04\00\00\00\00\00\04"
    "\01\00\00\00\00~\00\00\00\00\00\00\00\02s\00\01\03f\00\00\00\00\00~\00\00\00"
    "{{30000*d\18\00\00\00\00~}}{{30000*\00}}\00\00")
  (@custom ".debug_line"
    ".\00\00\00\04\00\1b\00\00\00\01\01\01\fb\0e\0d\00\01\01\01\01\00\00\00\01\00\00\01\00f.c\00\00\00\00\00\00\05\02\00\00\00\00\01\02~\00\01\01"))
