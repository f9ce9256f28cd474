/* Reading request records and writing edit lists as docs/abi.md specifies them. */
#ifndef RECORD_H
#define RECORD_H
#include "work.h"

#define ABSENT 0xffffffffu
#define FLAG_BODY 1u

enum { SET_HEADER = 1, SET_BODY = 7 };

static inline u32 read32(const u8 *at) { return *(const u32 *)at; }

/* The value of one field; absent when it was not sent. `record` is 8-byte aligned. */
static span field(const u8 *record, span name) {
  u32 count = *(const u16 *)(record + 2), names_size = read32(record + 4);
  const u32 *name_len = (const u32 *)(record + 8);
  const u8 *at = record + 8 + 4 * count;
  const u32 *value_len = (const u32 *)(at + names_size + 12);
  const u8 *value = (const u8 *)(value_len + count);
  for (u32 i = 0; i < count; i++) {
    u32 size = value_len[i];
    if (same((span){at, name_len[i]}, name))
      return size == ABSENT ? (span){0, 0} : (span){value, size};
    at += name_len[i];
    if (size != ABSENT) value += size;
  }
  return (span){0, 0};
}

/* The body, which ends the record; absent when it does not come along. */
static span body(const u8 *record, u32 len) {
  u32 count = *(const u16 *)(record + 2), names_size = read32(record + 4);
  const u8 *variable = record + 8 + 4 * count + names_size;
  if (!(read32(variable) & FLAG_BODY)) return (span){0, 0};
  u32 size = read32(variable + 8);
  return (span){record + len - size, size};
}

static inline u8 *edit_head(u8 *to, u8 op, u32 name_len, u32 value_len) {
  to[0] = op, to[1] = 0, to[2] = name_len, to[3] = name_len >> 8;
  __builtin_memcpy(to + 4, &value_len, 4);
  return to + 8;
}

/* W1 and W2 on a request record: the edit list is written at `out`; returns its end. */
static inline u8 *edit_request(u8 *out, const u8 *record, u32 len) {
  u8 *to = out;
  to[0] = 1, to[1] = 3, to[2] = 0, to[3] = 0;
  to += 4;
  span value = language(field(record, LITERAL("accept-language")));
  to = edit_head(to, SET_HEADER, 6, value.len);
  to = put(put(to, LITERAL("x-lang")), value);
  span text = body(record, len);
  if (text.at) {
    u8 *head = to;
    to = redeem(head + 8, text);
    edit_head(head, SET_BODY, 0, to - head - 8);
  }
  return to;
}

#endif
