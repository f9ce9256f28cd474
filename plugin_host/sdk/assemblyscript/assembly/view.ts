import { decode, malformed, put, isPair } from "./utf8";

/**
 * Bytes in place: nothing is copied or decoded until you ask. A view of what the host passed is valid until the hook
 * returns; keep a `text()` or `bytes()` of it, never the view itself.
 */
export class View {
  constructor(
    readonly pointer: usize,
    readonly length: i32,
  ) {}

  get isEmpty(): bool {
    return this.length == 0;
  }

  /** The byte at `index`; 0 outside the view. */
  at(index: i32): u8 {
    return (index as u32) < (this.length as u32) ? load<u8>(this.pointer + index) : 0;
  }

  /** The part from `start` to before `end`, cut to what there is. */
  slice(start: i32, end: i32 = i32.MAX_VALUE): View {
    const stop = max(min(end, this.length), 0);
    const from = max(min(start, stop), 0);
    return new View(this.pointer + from, stop - from);
  }

  equals(text: string): bool {
    return matches(this.pointer, this.end, text) == this.end;
  }

  startsWith(text: string): bool {
    return matches(this.pointer, this.end, text) != 0;
  }

  endsWith(text: string): bool {
    for (let i = max(this.length - text.length * 3, 0); i <= this.length; i++) {
      if (matches(this.pointer + i, this.end, text) == this.end) return true;
    }
    return false;
  }

  /** Where `text` first occurs at or after `from`, or -1. */
  indexOf(text: string, from: i32 = 0): i32 {
    for (let i = max(from, 0); i <= this.length; i++) {
      if (matches(this.pointer + i, this.end, text) != 0) return i;
    }
    return -1;
  }

  contains(text: string): bool {
    return this.indexOf(text) >= 0;
  }

  /** The text, decoded from UTF-8; malformed bytes become U+FFFD. */
  text(): string {
    return decode(this.pointer, this.length);
  }

  /** Whether the bytes are well-formed UTF-8. */
  isUtf8(): bool {
    decode(this.pointer, this.length);
    return !malformed;
  }

  /** A copy of the bytes. */
  bytes(): Uint8Array {
    const copy = new Uint8Array(this.length);
    memory.copy(copy.dataStart, this.pointer, this.length);
    return copy;
  }

  private get end(): usize {
    return this.pointer + this.length;
  }
}

const encoded = memory.data(4);

/** Where `text` ends if its UTF-8 is what lies at `pointer`; 0 if it is not. */
function matches(pointer: usize, end: usize, text: string): usize {
  const units = text.length;
  for (let i = 0; i < units; i++) {
    let code: u32 = text.charCodeAt(i);
    if (code < 0x80) {
      if (pointer >= end || load<u8>(pointer) != code) return 0;
      pointer++;
      continue;
    }
    if (isPair(text, i)) code = ((code - 0xd7c0) << 10) | (text.charCodeAt(++i) & 0x3ff);
    const size = put(code, encoded) - encoded;
    if (end - pointer < size || memory.compare(pointer, encoded, size) != 0) return 0;
    pointer += size;
  }
  return pointer;
}
