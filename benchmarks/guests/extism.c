/* A guest of Extism's kernel ABI. Input and output each cross between kernel memory and linear memory,
   eight bytes a call, which is how Extism's own guest libraries move them. */
#include "json.h"
#include "record.h"

#define KERNEL(name) __attribute__((import_module("extism:host/env"), import_name(#name)))

KERNEL(input_length) u64 input_length(void);
KERNEL(input_load_u8) u32 input_load_u8(u64 offset);
KERNEL(input_load_u64) u64 input_load_u64(u64 offset);
KERNEL(alloc) u64 kernel_alloc(u64 size);
KERNEL(store_u8) void store_u8(u64 offset, u32 value);
KERNEL(store_u64) void store_u64(u64 offset, u64 value);
KERNEL(output_set) void output_set(u64 offset, u64 size);

static u8 *buffer(void) { return (u8 *)(((u32)&__heap_base + 7) & ~7u); }

/* Reads the input into linear memory, which then has `room` times its size behind it. */
static span input(u32 room) {
  u32 len = input_length(), i = 0;
  u8 *to = buffer();
  reserve((u32)to + (room + 1) * len + 65536);
  for (; i + 8 <= len; i += 8) *(u64 *)(to + i) = input_load_u64(i);
  for (; i < len; i++) to[i] = input_load_u8(i);
  return (span){to, len};
}

static int output(span from) {
  u64 at = kernel_alloc(from.len);
  u32 i = 0;
  for (; i + 8 <= from.len; i += 8) store_u64(at + i, *(const u64 *)(from.at + i));
  for (; i < from.len; i++) store_u8(at + i, from.at[i]);
  output_set(at, from.len);
  return 0;
}

static inline u8 *after(span data) { return (u8 *)(((u32)data.at + data.len + 7) & ~7u); }

int EXPORT(request_json)(void) {
  span request = input(6);
  u8 *out = after(request);
  u8 *end = edit_json(out, out + 3 * request.len + 256, request);
  return output((span){out, end - out});
}

/* The record and the edit list of docs/abi.md as input and output. */
int EXPORT(request_flat)(void) {
  span record = input(2);
  u8 *out = after(record);
  return output((span){out, edit_request(out, record.at, record.len) - out});
}

int EXPORT(hash_rounds)(void) {
  span payload = input(1);
  u8 *out = after(payload);
  *(u32 *)out = hash(*(const u32 *)payload.at);
  return output((span){out, 4});
}

int EXPORT(nothing)(void) { return 0; }
