;; A component, which is no core module.
;;
;; refused = "component"
(component (core module (memory (export "memory") 1)))
