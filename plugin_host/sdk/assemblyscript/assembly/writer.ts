// A growing run of bytes outside the garbage-collected heap: nothing moves it but itself, and nothing needs to root it.

import { byteLength, encode } from "./utf8";

const ERROR_FLAG: u64 = 0x80000000;

// Unmanaged, like the messages: a plugin that makes no objects links no garbage collector.
@unmanaged
export class Writer {
  private start: usize;
  private end: usize;
  private at: usize;

  get length(): i32 {
    return (this.at - this.start) as i32;
  }

  get pointer(): usize {
    return this.start;
  }

  clear(): void {
    this.at = this.start;
  }

  /** Gives the memory back. */
  free(): void {
    if (this.start != 0) heap.free(this.start);
    this.start = 0;
    this.end = 0;
    this.at = 0;
  }

  /** Makes room for `size` more bytes, counts them as written, and returns where they start. */
  take(size: i32): usize {
    const at = this.at;
    if (at != 0 && size as usize <= this.end - at) {
      this.at = at + size;
      return at;
    }
    return this.grow(size);
  }

  private grow(size: i32): usize {
    const used = this.at - this.start;
    const needed = used + size;
    const capacity = max<usize>(max<usize>(needed, (this.end - this.start) * 2), 256);
    const start = this.start == 0 ? heap.alloc(capacity) : heap.realloc(this.start, capacity);
    this.start = start;
    this.end = start + capacity;
    this.at = start + needed;
    return start + used;
  }

  byte(value: u8): void {
    store<u8>(this.take(1), value);
  }

  copy(pointer: usize, length: i32): void {
    memory.copy(this.take(length), pointer, length);
  }

  text(text: string): void {
    encode(text, this.take(byteLength(text)));
  }

  /** Overwrites the u32 at `offset`: for a length that is known only afterwards. */
  patch(offset: i32, value: u32): void {
    store<u32>(this.start + offset, value);
  }

  /** Has the other's bytes from now on, and the other this one's. */
  swap(other: Writer): void {
    const start = this.start;
    const end = this.end;
    const at = this.at;
    this.start = other.start;
    this.end = other.end;
    this.at = other.at;
    other.start = start;
    other.end = end;
    other.at = at;
  }

  /** What a hook returns to hand these bytes to the host. */
  result(): i64 {
    this.take(0); // an empty result has a pointer, too
    return (((this.start as u64) << 32) | (this.length as u64)) as i64;
  }

  /** The same, as an error message. */
  failure(): i64 {
    return this.result() | (ERROR_FLAG as i64);
  }
}

/** What the hook that runs now hands back; it stays as it is until the next call into the guest. */
export const output = changetype<Writer>(memory.data(offsetof<Writer>(), 8));
