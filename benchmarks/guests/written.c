/* The guest `native` as a larger language would lay it out: a stack of 1 MiB comes first, and `ph_init` writes to memory, so that
   with stack and buffers 64 KiB have been written when the guest is ready. */
#include "native.c"

static u8 kept[44 * 1024];

u64 EXPORT(ph_init)(u32 len) {
  volatile u8 *at = kept;
  for (u32 i = 0; i < sizeof kept; i++) at[i] = (u8)(i + len);
  return 0;
}
