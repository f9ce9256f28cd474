/* A guest of the native ABI (docs/abi.md): W1 and W2 as `on_request`, W3 as the business hook `hash`. */
#include "record.h"

static u32 capacity;

static u8 *buffer(void) { return (u8 *)(((u32)&__heap_base + 7) & ~7u); }

static u64 result(const u8 *at, u32 len) { return (u64)(u32)at << 32 | len; }

u32 EXPORT(ph_abi_version)(void) { return 1; }

/* The exchange buffer, and behind it room for a result of the same size. */
u32 EXPORT(ph_alloc)(u32 size) {
  if (size > capacity) {
    capacity = (size + 7) & ~7u;
    reserve((u32)buffer() + 2 * capacity + 65536);
  }
  return (u32)buffer();
}

u64 EXPORT(on_request)(u32 len) {
  u8 *out = buffer() + capacity;
  return result(out, edit_request(out, buffer(), len) - out);
}

/* Payload and answer: one little-endian u32. */
u64 EXPORT(hash_rounds)(u32 len) {
  u8 *out = buffer() + capacity;
  *(u32 *)out = hash(*(const u32 *)buffer());
  return result(out, 4);
}

/* The empty call. */
u64 EXPORT(nothing)(u32 len) { return 0; }
