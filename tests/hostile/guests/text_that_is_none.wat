;; Text that ends within a string.
;;
;; refused = "is not valid WebAssembly text"
(module (memory (export "mem
