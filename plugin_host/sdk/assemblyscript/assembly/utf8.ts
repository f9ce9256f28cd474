// UTF-8 to and from AssemblyScript's UTF-16 strings, without a trap on any input: malformed bytes and lone
// surrogates become U+FFFD. Written out here because the standard library's encoder lets lone surrogates through.

const REPLACEMENT: u32 = 0xfffd;

/** Whether the last `decode` met malformed bytes. */
export let malformed: bool = false;

/** Where the last `codePoint` stopped reading. */
let next: usize = 0;

/** The text of `length` bytes at `pointer`. */
export function decode(pointer: usize, length: i32): string {
  if (length == 0) return "";
  // No UTF-8 sequence has more UTF-16 units than bytes.
  const text = __new(length << 1, idof<string>());
  const stop = decodeInto(pointer, pointer + length, text);
  return changetype<string>(__renew(text, stop - text));
}

/** Writes the UTF-16 of the bytes up to `end` to `target` and returns where it stopped. */
export function decodeInto(pointer: usize, end: usize, target: usize): usize {
  malformed = false;
  while (pointer < end) {
    const byte: u32 = load<u8>(pointer);
    if (byte < 0x80) {
      store<u16>(target, byte as u16);
      pointer++;
      target += 2;
      continue;
    }
    const code = codePoint(pointer, end);
    pointer = next;
    if (code < 0x10000) {
      store<u16>(target, code as u16);
      target += 2;
    } else {
      store<u16>(target, (0xd7c0 + (code >> 10)) as u16);
      store<u16>(target, (0xdc00 | (code & 0x3ff)) as u16, 2);
      target += 4;
    }
  }
  return target;
}

/** The code point of the sequence at `pointer`, which starts with a byte above 0x7f; sets `next`. */
function codePoint(pointer: usize, end: usize): u32 {
  const lead: u32 = load<u8>(pointer);
  const extra: i32 = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
  next = pointer + 1;
  if (lead < 0xc2 || lead > 0xf4) return bad();
  let code = lead & (0x3f >> extra);
  for (let i = 0; i < extra; i++) {
    if (next >= end || (load<u8>(next) & 0xc0) != 0x80) return bad();
    code = (code << 6) | (load<u8>(next) & 0x3f);
    next++;
  }
  const overlong = (extra == 2 && code < 0x800) || (extra == 3 && code < 0x10000);
  return overlong || code > 0x10ffff || (code & 0xfffff800) == 0xd800 ? bad() : code;
}

function bad(): u32 {
  malformed = true;
  return REPLACEMENT;
}

/** The number of UTF-8 bytes of `text`. */
export function byteLength(text: string): i32 {
  const units = text.length;
  let bytes = units;
  for (let i = 0; i < units; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    bytes += unit < 0x800 ? 1 : 2;
    if (isPair(text, i)) i++; // four bytes for two units: two more than units, already added
  }
  return bytes;
}

/** Writes `text` as UTF-8 to `target`, which has room for `byteLength(text)`, and returns where it stopped. */
export function encode(text: string, target: usize): usize {
  const units = text.length;
  for (let i = 0; i < units; i++) {
    let code: u32 = text.charCodeAt(i);
    if (isPair(text, i)) code = ((code - 0xd7c0) << 10) | (text.charCodeAt(++i) & 0x3ff);
    else if ((code & 0xf800) == 0xd800) code = REPLACEMENT;
    target = put(code, target);
  }
  return target;
}

/** Writes one code point as UTF-8 and returns where it stopped. */
export function put(code: u32, target: usize): usize {
  if (code < 0x80) {
    store<u8>(target, code as u8);
    return target + 1;
  }
  if (code < 0x800) {
    store<u8>(target, (0xc0 | (code >> 6)) as u8);
  } else if (code < 0x10000) {
    store<u8>(target++, (0xe0 | (code >> 12)) as u8);
    store<u8>(target, (0x80 | ((code >> 6) & 0x3f)) as u8);
  } else {
    store<u8>(target++, (0xf0 | (code >> 18)) as u8);
    store<u8>(target++, (0x80 | ((code >> 12) & 0x3f)) as u8);
    store<u8>(target, (0x80 | ((code >> 6) & 0x3f)) as u8);
  }
  store<u8>(target + 1, (0x80 | (code & 0x3f)) as u8);
  return target + 2;
}

/** Whether a surrogate pair starts at `index`. */
export function isPair(text: string, index: i32): bool {
  return (
    (text.charCodeAt(index) & 0xfc00) == 0xd800 &&
    index + 1 < text.length &&
    (text.charCodeAt(index + 1) & 0xfc00) == 0xdc00
  );
}
