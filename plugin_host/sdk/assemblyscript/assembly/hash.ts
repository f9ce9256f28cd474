// SipHash-2-4, a keyed hash: who does not know the key cannot tell what any text hashes to.

import { byteLength, encode } from "./utf8";

let v0: u64 = 0;
let v1: u64 = 0;
let v2: u64 = 0;
let v3: u64 = 0;

function rounds(count: i32): void {
  for (let i = 0; i < count; i++) {
    v0 += v1;
    v2 += v3;
    v1 = rotl(v1, 13) ^ v0;
    v3 = rotl(v3, 16) ^ v2;
    v0 = rotl(v0, 32);
    v2 += v1;
    v0 += v3;
    v1 = rotl(v1, 17) ^ v2;
    v3 = rotl(v3, 21) ^ v0;
    v2 = rotl(v2, 32);
  }
}

function absorb(word: u64): void {
  v3 ^= word;
  rounds(2);
  v0 ^= word;
}

/** SipHash-2-4 of `length` bytes under the 128-bit key (`key0`, `key1`). */
export function siphash(key0: u64, key1: u64, pointer: usize, length: i32): u64 {
  v0 = key0 ^ 0x736f6d6570736575;
  v1 = key1 ^ 0x646f72616e646f6d;
  v2 = key0 ^ 0x6c7967656e657261;
  v3 = key1 ^ 0x7465646279746573;
  const tail = pointer + (length & ~7);
  for (; pointer < tail; pointer += 8) absorb(load<u64>(pointer));
  let last = (length as u64) << 56;
  for (let i = 0; i < (length & 7); i++) last |= (load<u8>(tail + i) as u64) << (8 * i);
  absorb(last);
  v2 ^= 0xff;
  rounds(4);
  return v0 ^ v1 ^ v2 ^ v3;
}

/** The hash of `text` under a secret of any length. */
export function keyedHash(secret: string, text: string): u64 {
  // Two hashes of the secret under fixed keys make the 128-bit key.
  return hashText(hashText(0, 1, secret), hashText(2, 3, secret), text);
}

/** A hash as a number from 0 to below 1, for "this share of users". */
export function share(hash: u64): f64 {
  return ((hash >> 11) as f64) / 9007199254740992.0;
}

function hashText(key0: u64, key1: u64, text: string): u64 {
  const length = byteLength(text);
  const buffer = heap.alloc(length);
  encode(text, buffer);
  const hash = siphash(key0, key1, buffer, length);
  heap.free(buffer);
  return hash;
}
