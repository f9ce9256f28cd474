// The plugin's own metrics: capability `metrics`. docs/abi.md, "Metrics".

import { byteLength, encode } from "./utf8";

@external("plugin_host", "counter")
declare function hostCounter(name: usize, length: i32, amount: i64): void;

@external("plugin_host", "histogram")
declare function hostHistogram(name: usize, length: i32, bits: i64): void;

/** Room for the longest name, and one more: a longer one traps in the host. */
const NAME: i32 = 64;
const text = memory.data(256, 8);

function write(name: string): i32 {
  // Cut so that it cannot pass for a name, since it could not be one.
  if (name.length > NAME) name = name.substring(0, NAME + 1);
  encode(name, text);
  return byteLength(name);
}

/** Adds to a counter; `name` is an identifier of at most 64 characters. */
export function count(name: string, amount: i64 = 1): void {
  hostCounter(text, write(name), amount);
}

/** Adds a value to a histogram. */
export function observe(name: string, value: f64): void {
  hostHistogram(text, write(name), reinterpret<i64>(value));
}
