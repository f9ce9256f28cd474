;; A path with a line end and what looks like a header.
;;
;; answer = { status = 404, headers = { content-type = "text/html; charset=utf-8" }, body = "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again.</p>\n" }
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0x00000400_0000001a))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\04\00\00\00\0e\00\00\00" "/hit/a\0d\0ax-b: c"))
