/* The works themselves, the same code in every C guest: only the way data comes in and goes out differs. */
#ifndef WORK_H
#define WORK_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define EXPORT(name) __attribute__((export_name(#name))) name

typedef struct {
  const u8 *at; /* null: absent */
  u32 len;
} span;

#define LITERAL(text) ((span){(const u8 *)(text), sizeof(text) - 1})

extern u8 __heap_base;

static inline int same(span a, span b) {
  if (a.len != b.len) return 0;
  for (u32 i = 0; i < a.len; i++)
    if (a.at[i] != b.at[i]) return 0;
  return 1;
}

/* Appends `from` at `to`, returns the new end. */
static inline u8 *put(u8 *to, span from) {
  __builtin_memcpy(to, from.at, from.len);
  return to + from.len;
}

/* Makes linear memory at least `end` bytes long; traps when it cannot. */
static void reserve(u32 end) {
  u32 pages = (end + 65535) >> 16, have = __builtin_wasm_memory_size(0);
  if (pages > have && __builtin_wasm_memory_grow(0, pages - have) == (u32)-1) __builtin_trap();
}

/* W1: the new header's value is the first two bytes of Accept-Language. */
static inline span language(span accept) {
  return (span){accept.at, accept.len < 2 ? accept.len : 2};
}

/* W2: where the coupon's value is in the JSON text; absent when there is none. */
static span coupon(span body) {
  static const char key[] = "\"coupon\":\"";
  const u32 n = sizeof(key) - 1;
  for (u32 i = 0; i + n < body.len; i++) {
    if (body.at[i] != '"' || !same((span){body.at + i, n}, LITERAL("\"coupon\":\""))) continue;
    u32 end = i + n;
    while (end < body.len && body.at[end] != '"') end++;
    return (span){body.at + i + n, end - i - n};
  }
  return (span){0, 0};
}

/* W2: the body with its coupon redeemed, written at `to`; returns the end. */
static u8 *redeem(u8 *to, span body) {
  span old = coupon(body);
  if (!old.at) return put(to, body);
  to = put(to, (span){body.at, old.at - body.at});
  to = put(to, LITERAL("REDEEMED"));
  return put(to, (span){old.at + old.len, body.at + body.len - (old.at + old.len)});
}

/* W3: rounds of a xorshift hash in 32 bits. */
static inline u32 hash(u32 rounds) {
  u32 h = 2463534242u;
  for (u32 i = 0; i < rounds; i++) {
    h ^= h << 13;
    h ^= h >> 17;
    h ^= h << 5;
    h += i;
  }
  return h;
}

#endif
