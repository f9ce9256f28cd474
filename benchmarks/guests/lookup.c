/* Both ends of the record format: two headers looked up in a length-indexed and in a separator-joined
   record, `times` times in one call, so that the call itself does not count. */
#include "record.h"

u32 EXPORT(buffer)(void) {
  u32 at = ((u32)&__heap_base + 7) & ~7u;
  reserve(at + 65536);
  return at;
}

/* Separator-joined: u32 size of the names block, names joined by NUL, values joined by NUL. */
static span joined(const u8 *record, u32 len, span name) {
  const u8 *at = record + 4, *names_end = at + read32(record), *end = record + len;
  u32 index = 0;
  for (; at < names_end; index++) {
    const u8 *stop = at;
    while (stop < names_end && *stop) stop++;
    if (same((span){at, stop - at}, name)) break;
    at = stop + 1;
  }
  if (at >= names_end) return (span){0, 0};
  const u8 *value = names_end;
  for (; index; value++)
    if (!*value) index--;
  const u8 *stop = value;
  while (stop < end && *stop) stop++;
  return (span){value, stop - value};
}

/* Forgets what the compiler knows, so that no round is hoisted out of the loop. */
#define BARRIER(p) __asm__ volatile("" : "+r"(p)::"memory")

u32 EXPORT(indexed_lookups)(const u8 *record, u32 len, u32 times) {
  u32 sum = 0;
  for (u32 i = 0; i < times; i++) {
    BARRIER(record);
    sum += field(record, LITERAL("accept-language")).len + field(record, LITERAL("x-request-id")).len;
  }
  return sum;
}

u32 EXPORT(joined_lookups)(const u8 *record, u32 len, u32 times) {
  u32 sum = 0;
  for (u32 i = 0; i < times; i++) {
    BARRIER(record);
    sum += joined(record, len, LITERAL("accept-language")).len +
           joined(record, len, LITERAL("x-request-id")).len;
  }
  return sum;
}
