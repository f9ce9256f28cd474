;; Text whose parentheses lie in each other, fifty thousand deep.
;;
;; refused = ["exports no memory", "does not export", "valid WebAssembly"]
(module (func {{50000*(block }}{{50000*)}}))
