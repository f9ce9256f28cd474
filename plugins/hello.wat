;; The smallest useful plugin: adds `x-hello: from wasm` to every response. docs/abi.md explains every number.
(module
  ;; The one linear memory that host and guest share: one page of 64 KiB, which can grow.
  (memory (export "memory") 1)

  ;; The answer, ready-made at address 16. An edit list: version 1, kind 3, two reserved bytes; then one edit:
  ;; op 1 = set header, a reserved byte, a name of 7 bytes, a value of 9 bytes, the name, the value. 28 bytes in all.
  (data (i32.const 16) "\01\03\00\00" "\01\00\07\00\09\00\00\00" "x-hello" "from wasm")

  ;; "I was built for version 1 of the ABI."
  (func (export "ph_abi_version") (result i32) (i32.const 1))

  ;; The exchange buffer, where the host writes what a hook receives, starts at 1024. This plugin reads nothing (see
  ;; `needs` in hello.toml), but must offer as much room as the host asks for: grow if 1024 + size is beyond the end.
  (func (export "ph_alloc") (param $size i32) (result i32)
    (local $missing i32)
    (local.set $missing
      (i32.sub (i32.shr_u (i32.add (local.get $size) (i32.const 66559)) (i32.const 16)) (memory.size)))
    (if (i32.gt_s (local.get $missing) (i32.const 0))
      (then (if (i32.eq (memory.grow (local.get $missing)) (i32.const -1)) (then (unreachable)))))
    (i32.const 1024))

  ;; The hook. It gets the length of the record and returns where its edit list lies: pointer 16 in the upper 32 bits,
  ;; length 28 (0x1c) in the lower. To change nothing it would return 0.
  (func (export "on_response") (param $len i32) (result i64)
    (i64.const 0x00000010_0000001c)))
