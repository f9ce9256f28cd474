;; A path that the app redirects, and that begins like another host.
;;
;; answer = { status = 308, headers = { content-type = "text/html; charset=utf-8", location = "http://shop.example/slash/evil.example/" }, body = "<!doctype html>\n<html lang=en>\n<title>Redirecting...</title>\n<h1>Redirecting...</h1>\n<p>You should be redirected automatically to the target URL: <a href=\"http://shop.example/slash/evil.example/\">http://shop.example/slash/evil.example/</a>. If not, click the link.\n" }
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0x00000400_00000020))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\04\00\00\00\14\00\00\00" "//slash/evil.example"))
