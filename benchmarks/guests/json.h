/* The least JSON that the documented way of the peers needs: find members, unescape, escape. */
#ifndef JSON_H
#define JSON_H
#include "work.h"

static inline const u8 *blank(const u8 *p, const u8 *end) {
  while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) p++;
  return p;
}

/* `p` is behind an opening quote; returns where the closing one is. */
static const u8 *string_end(const u8 *p, const u8 *end) {
  while (p < end && *p != '"') p += *p == '\\' ? 2 : 1;
  return p;
}

/* Skips one value of any kind. */
static const u8 *skip(const u8 *p, const u8 *end) {
  u32 depth = 0;
  for (; p < end; p++) {
    if (*p == '"') p = string_end(p + 1, end);
    else if (*p == '{' || *p == '[') depth++;
    else if ((*p == ',' || *p == '}' || *p == ']') && !depth) break;
    else if (*p == '}' || *p == ']') depth--;
    if (!depth && (*p == '"' || *p == '}' || *p == ']')) return p + 1;
  }
  return p;
}

/* The value of a member of the object `text`: of a string what is between its quotes, still escaped. */
static span member(span text, span name) {
  const u8 *p = text.at, *end = text.at + text.len;
  if (!p) return (span){0, 0};
  for (p = blank(p, end) + 1; p < end;) {
    p = blank(p, end);
    if (*p == ',') p = blank(p + 1, end);
    if (*p != '"') break;
    const u8 *key = p + 1;
    p = string_end(key, end);
    int found = same((span){key, p - key}, name);
    p = blank(blank(p + 1, end) + 1, end);
    const u8 *value = p;
    p = skip(p, end);
    if (found) return *value == '"' ? (span){value + 1, p - value - 2} : (span){value, p - value};
  }
  return (span){0, 0};
}

static inline u32 hex(const u8 *p) {
  u32 v = 0;
  for (u32 i = 0; i < 4; i++) v = v << 4 | (p[i] <= '9' ? p[i] - '0' : (p[i] | 32) - 'a' + 10);
  return v;
}

static u8 *utf8(u8 *to, u32 c) {
  if (c < 0x80) return *to++ = c, to;
  if (c < 0x800) *to++ = 0xc0 | c >> 6;
  else *to++ = 0xe0 | c >> 12, *to++ = 0x80 | (c >> 6 & 63);
  *to++ = 0x80 | (c & 63);
  return to;
}

/* Writes the text that an escaped string stands for (characters up to U+FFFF) at `to`. */
static u8 *unescape(u8 *to, span from) {
  for (const u8 *p = from.at, *end = p + from.len; p < end; p++) {
    if (*p != '\\') { *to++ = *p; continue; }
    switch (*++p) {
      case 'n': *to++ = '\n'; break;
      case 't': *to++ = '\t'; break;
      case 'r': *to++ = '\r'; break;
      case 'b': *to++ = '\b'; break;
      case 'f': *to++ = '\f'; break;
      case 'u': to = utf8(to, hex(p + 1)), p += 4; break;
      default: *to++ = *p;
    }
  }
  return to;
}

static u8 *escape(u8 *to, span from) {
  for (u32 i = 0; i < from.len; i++) {
    u8 c = from.at[i];
    if (c == '"' || c == '\\') *to++ = '\\';
    if (c < 32) {
      to = put(to, LITERAL("\\u00"));
      *to++ = '0' + (c >> 4);
      c = (c & 15) + ((c & 15) < 10 ? '0' : 'a' - 10);
    }
    *to++ = c;
  }
  return to;
}

/* W1 and W2 on a JSON request: `{"set": {…}, "body": …}` is written at `out`; returns its end.
   `scratch` has room for twice the request. */
static u8 *edit_json(u8 *out, u8 *scratch, span request) {
  span accept = member(member(request, LITERAL("headers")), LITERAL("accept-language"));
  u8 *to = put(out, LITERAL("{\"set\":{\"x-lang\":\""));
  to = put(escape(to, language(accept)), LITERAL("\"}"));
  span body = member(request, LITERAL("body"));
  if (body.at) {
    u8 *end = unescape(scratch, body);
    u8 *redeemed = end, *redeemed_end = redeem(end, (span){scratch, end - scratch});
    to = put(to, LITERAL(",\"body\":\""));
    to = escape(to, (span){redeemed, redeemed_end - redeemed});
    *to++ = '"';
  }
  *to++ = '}';
  return to;
}

#endif
