// The exchange buffer: where the host writes what a hook receives (docs/abi.md, section 2).

let buffer: usize = 0;

/** Export this: the version of the native ABI that this SDK speaks. */
export function ph_abi_version(): i32 {
  return 1;
}

/** Export this: the host asks for an exchange buffer of at least `size` bytes. */
export function ph_alloc(size: i32): i32 {
  // A block of the raw heap: 16-byte aligned, never moved, never collected.
  if (buffer != 0) heap.free(buffer);
  buffer = heap.alloc(size as u32 as usize);
  return buffer as i32;
}

/** Where the exchange buffer starts. */
export function exchange(): usize {
  return buffer;
}
