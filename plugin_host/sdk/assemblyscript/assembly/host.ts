// Host functions. The module imports one only if the plugin uses it; each needs its capability in the manifest.

import { byteLength, encode } from "./utf8";

@external("plugin_host", "log")
declare function hostLog(level: i32, pointer: usize, length: i32): void;

@external("plugin_host", "now")
declare function hostNow(clock: i32): i64;

@external("plugin_host", "random")
declare function hostRandom(pointer: usize, length: i32): void;

const RANDOM_LIMIT: i32 = 65536;

function write(level: i32, message: string): void {
  const length = byteLength(message);
  const buffer = heap.alloc(length);
  encode(message, buffer);
  hostLog(level, buffer, length);
  heap.free(buffer);
}

/** Messages to the plugin's logger: capability `log`. */
export namespace log {
  export function debug(message: string): void {
    write(0, message);
  }
  export function info(message: string): void {
    write(1, message);
  }
  export function warning(message: string): void {
    write(2, message);
  }
  export function error(message: string): void {
    write(3, message);
  }
}

/** Nanoseconds since 1970: capability `clock`. */
export function unixNanos(): i64 {
  return hostNow(0);
}

/** Milliseconds since 1970: capability `clock`. */
export function unixMillis(): i64 {
  return hostNow(0) / 1000000;
}

/** Nanoseconds of a clock that never goes back: capability `clock`. */
export function monotonicNanos(): i64 {
  return hostNow(1);
}

/** Secure random bytes: capability `random`. */
export function randomBytes(length: i32): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += RANDOM_LIMIT) {
    hostRandom(bytes.dataStart + at, min(length - at, RANDOM_LIMIT));
  }
  return bytes;
}

const word = memory.data(8, 8);

/** A secure random number below 1: capability `random`. */
export function random(): f64 {
  hostRandom(word, 8);
  return ((load<u64>(word) >> 11) as f64) / 9007199254740992.0;
}
