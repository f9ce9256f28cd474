;; A GET becomes a HEAD of a path that the app redirects, of which Flask makes a response by calling it as WSGI does.
;;
;; answer = { status = 308, headers = { content-type = "text/html; charset=utf-8", location = "http://shop.example/slash/hit/" }, body = "<!doctype html>\n<html lang=en>\n<title>Redirecting...</title>\n<h1>Redirecting...</h1>\n<p>You should be redirected automatically to the target URL: <a href=\"http://shop.example/slash/hit/\">http://shop.example/slash/hit/</a>. If not, click the link.\n" }
(module
  (@custom "plugin_host.manifest" "match.paths = ['/hit**']\n")
  (memory (export "memory") 4)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func (export "ph_alloc") (param $size i32) (result i32) (i32.const 4096))
  (func (export "on_request") (param $len i32) (result i64)
    (i64.const 0x00000400_00000022))
  (data (i32.const 1024)
    "\01\03\00\00"
    "\06\00\00\00\04\00\00\00" "HEAD"
    "\04\00\00\00\0a\00\00\00" "/slash/hit"))
