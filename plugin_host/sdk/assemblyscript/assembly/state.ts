// The key-value store: capability `state`, and `state:NAME` for the shared namespace NAME. docs/abi.md, "State".

import { Json } from "./json";
import { Request } from "./request";
import { StateCode, describe } from "./statecode";
import {
  hostAdd,
  hostAddNumber,
  hostAdmit,
  hostCount,
  hostDelete,
  hostDeleteMany,
  hostGet,
  hostGetMany,
  hostList,
  hostOpen,
  hostPut,
  hostPutMany,
  hostSwap,
} from "./statehost";
import { byteLength, decode } from "./utf8";
import { View } from "./view";
import { Writer } from "./writer";

/** A time to live that never ends. */
export const FOREVER: i64 = i64.MAX_VALUE;

/** What became of a key that wanted to be one of few; `Failed`: `State.error` says why. */
export enum Admission {
  Failed,
  Added,
  Present,
  Full,
}

const ABSENT: u32 = 0xffffffff;
const NONE: i64 = -1;
const DONE: i64 = 1 << 32;

/** What is passed: keys and values, one after the other. */
const input = changetype<Writer>(memory.data(offsetof<Writer>(), 8));
const number = memory.data(8, 8);

/** What is returned, and the room for it. */
let out: usize = 0;
let room: i32 = 0;

function reserve(size: i32): void {
  if (size <= room) return;
  if (out != 0) heap.free(out);
  room = max(size, 1024);
  out = heap.alloc(room);
}

/** Takes note of how an operation ended, and returns its result. */
function ended(result: i64): i64 {
  State.code = result < NONE ? (result as i32) : StateCode.Ok;
  return result;
}

function word(value: u32): void {
  store<u32>(input.take(4), value);
}

function pack(keys: string[]): void {
  input.clear();
  for (let i = 0; i < keys.length; i++) {
    word(byteLength(keys[i]));
    input.text(keys[i]);
  }
}

/** A page of a list: `keys` in the order of their bytes, and of each its value's size and what it has left. */
export class StatePage {
  keys: string[] = [];
  sizes: i32[] = [];
  /** Milliseconds, or `FOREVER`. */
  ttls: i64[] = [];
  /** Where the list goes on; empty at its end. */
  cursor: Uint8Array = new Uint8Array(0);
}

/**
 * Keys and values that outlive a call and are shared by all instances, workers and machines. Every operation is atomic.
 * One that fails returns what stands for nothing, and `State.code` and `State.error` say why until the next one.
 */
export class State {
  /** Why the latest operation failed; `StateCode.Ok` if it did not. */
  static code: i32 = StateCode.Ok;

  /** Whether the latest conditional operation changed anything. */
  static done: bool = false;

  /** How long what the latest conditional write found is; below 0: nothing. */
  private static found: i64 = NONE;

  private constructor(
    private readonly name: string,
    private handle: i32,
  ) {}

  /** The plugin's own namespace. */
  static own(): State {
    return new State("", 0);
  }

  /** A shared namespace, which is opened by its first operation. */
  static shared(name: string): State {
    return new State(name, -1);
  }

  /** Whether the latest operation failed. */
  static get failed(): bool {
    return State.code != StateCode.Ok;
  }

  /** Why it did; empty if it did not. */
  static get error(): string {
    return describe(State.code);
  }

  /** What was there instead, after a `putIfAbsent`, `compareAndSet` or `admit` that was not done; null: nothing. */
  static get current(): string | null {
    return State.found < 0 ? null : decode(out, State.found as i32);
  }

  // -- one key

  /** The value; null if there is no such key. */
  get(key: string): string | null {
    const size = this.fetch(key);
    return size < 0 ? null : decode(out, size);
  }

  getBytes(key: string): Uint8Array | null {
    const size = this.fetch(key);
    return size < 0 ? null : new View(out, size).bytes();
  }

  /** The value as an integer; `fallback` if there is none, or it is no number. */
  getInt(key: string, fallback: i64 = 0): i64 {
    const value = this.getJson(key);
    return value == null ? fallback : value.asInt(fallback);
  }

  getNumber(key: string, fallback: f64 = 0): f64 {
    const value = this.getJson(key);
    return value == null ? fallback : value.asNumber(fallback);
  }

  /** The value as JSON; null if there is none, or it is not JSON. */
  getJson(key: string): Json | null {
    const size = this.fetch(key);
    return size < 0 ? null : Json.parse(new View(out, size));
  }

  /** The value that came with the request, if the manifest has the key read beforehand; otherwise the same as `get`. */
  prefetched(request: Request, key: string): string | null {
    const value = find(request.headerView(":state"), key);
    if (value == null) return this.get(key);
    State.code = StateCode.Ok;
    return value.length < 0 ? null : value.text();
  }

  /** Puts a value, whatever there was. `ttl` is in milliseconds. */
  put(key: string, value: string, ttl: i64 = FOREVER): bool {
    const length = this.begin(key);
    input.text(value);
    return this.write(length, ttl);
  }

  putBytes(key: string, value: Uint8Array, ttl: i64 = FOREVER): bool {
    const length = this.begin(key);
    input.copy(value.dataStart, value.length);
    return this.write(length, ttl);
  }

  putJson(key: string, value: Json, ttl: i64 = FOREVER): bool {
    const length = this.begin(key);
    value.write(input);
    return this.write(length, ttl);
  }

  /** Deletes a key; whether there was one. */
  delete(key: string): bool {
    const length = this.begin(key);
    return this.handle >= 0 && ended(hostDelete(this.handle, input.pointer, length)) == 1;
  }

  // -- conditional writes: whether they were done

  /** Puts a value if there is no such key; else `State.current` is what there is. */
  putIfAbsent(key: string, value: string, ttl: i64 = FOREVER): bool {
    return this.compareAndSet(key, null, value, ttl);
  }

  /** Puts `value`, or deletes if it is null, if the key holds `expected`, or does not exist if that is null. */
  compareAndSet(key: string, expected: string | null, value: string | null, ttl: i64 = FOREVER): bool {
    const length = this.begin(key);
    if (expected != null) input.text(expected);
    const middle = input.length;
    if (value != null) input.text(value);
    const old = expected == null ? ABSENT : middle - length;
    const fresh = value == null ? ABSENT : input.length - middle;
    const at = input.pointer;
    reserve(1);
    const ns = this.handle;
    if (ns < 0) return this.settle(key, ns);
    return this.settle(key, hostSwap(ns, at, length, at + length, old, at + middle, fresh, ttl, out, room));
  }

  /** Puts a key that is not there if fewer than `limit` begin with `prefix`, as it does. Who is in, is in. */
  admit(key: string, prefix: string, limit: i64, value: string = "", ttl: i64 = FOREVER): Admission {
    const length = this.begin(key);
    input.text(value);
    const at = input.pointer;
    // What is no prefix of the key is told like one that is longer.
    const size = key.startsWith(prefix) ? byteLength(prefix) : length + 1;
    const rest = input.length - length;
    reserve(1);
    const ns = this.handle;
    this.settle(key, ns < 0 ? ns : hostAdmit(ns, at, length, size, limit, at + length, rest, ttl, out, room));
    if (State.failed) return Admission.Failed;
    return State.done ? Admission.Added : State.found < 0 ? Admission.Full : Admission.Present;
  }

  // -- numbers

  /**
   * Adds to a number, unless the sum leaves the bounds, and returns what is there now; no key counts as 0. `State.done`
   * says whether it was added. `ttl` is for a key that this makes.
   */
  add(key: string, delta: i64 = 1, ttl: i64 = FOREVER, floor: i64 = i64.MIN_VALUE, ceiling: i64 = i64.MAX_VALUE): i64 {
    const length = this.begin(key);
    store<i64>(number, 0);
    const ns = this.handle;
    const result = ns < 0 ? ns : hostAdd(ns, input.pointer, length, delta, floor, ceiling, ttl, number);
    State.done = ended(result) == 1;
    return load<i64>(number);
  }

  addNumber(key: string, delta: f64, ttl: i64 = FOREVER, floor: f64 = -Infinity, ceiling: f64 = Infinity): f64 {
    const length = this.begin(key);
    store<i64>(number, 0);
    const low = reinterpret<i64>(floor);
    const high = reinterpret<i64>(ceiling);
    const at = input.pointer;
    const ns = this.handle;
    const result = ns < 0 ? ns : hostAddNumber(ns, at, length, reinterpret<i64>(delta), low, high, ttl, number);
    State.done = ended(result) == 1;
    return load<f64>(number);
  }

  // -- many keys

  /** How many keys begin with `prefix`. */
  count(prefix: string = ""): i64 {
    const length = this.begin(prefix);
    return this.handle < 0 ? 0 : max<i64>(ended(hostCount(this.handle, input.pointer, length)), 0);
  }

  /** The next `limit` keys that begin with `prefix`, after those that came with the `cursor`; null if it failed. */
  list(prefix: string = "", cursor: Uint8Array | null = null, limit: i32 = 100): StatePage | null {
    const length = this.begin(prefix);
    if (cursor != null) input.copy(cursor.dataStart, cursor.length);
    if (this.handle < 0) return null;
    const at = input.pointer;
    const rest = input.length - length;
    reserve(1);
    let size: i64;
    while ((size = ended(hostList(this.handle, at, length, at + length, rest, limit, out, room))) > room) {
      reserve(size as i32);
    }
    return size < 0 ? null : readPage(out, size as i32);
  }

  /** The values of several keys as of one moment, null for each that is not there; empty if it failed. */
  getMany(keys: string[]): Array<string | null> {
    const values: Array<string | null> = [];
    const ns = this.open();
    pack(keys);
    if (ns < 0) return values;
    reserve(1);
    let size: i64;
    while ((size = ended(hostGetMany(ns, pointer(), input.length, out, room))) > room) reserve(size as i32);
    for (let at: usize = 0; (at as i64) < size; ) {
      const length = load<u32>(out + at);
      at += 4;
      values.push(length == ABSENT ? null : decode(out + at, length));
      if (length != ABSENT) at += length;
    }
    return values;
  }

  /** Puts several keys, all or none. */
  putMany(keys: string[], values: string[], ttl: i64 = FOREVER): bool {
    const ns = this.open();
    input.clear();
    for (let i = 0; i < keys.length; i++) {
      word(byteLength(keys[i]));
      word(byteLength(values[i]));
      input.text(keys[i]);
      input.text(values[i]);
    }
    return ns >= 0 && ended(hostPutMany(ns, pointer(), input.length, ttl)) == 0;
  }

  /** Deletes several keys; how many there were. */
  deleteMany(keys: string[]): i32 {
    const ns = this.open();
    pack(keys);
    return ns < 0 ? 0 : max(ended(hostDeleteMany(ns, pointer(), input.length)) as i32, 0);
  }

  private open(): i32 {
    if (this.handle >= 0) return this.handle;
    input.clear();
    input.text(this.name);
    this.handle = ended(hostOpen(pointer(), input.length)) as i32;
    return this.handle;
  }

  /** Begins the input with a key, whose length it returns; if the handle is below 0, the state is not open. */
  private begin(key: string): i32 {
    this.open();
    input.clear();
    input.text(key);
    input.take(0);
    return input.length;
  }

  /** Reads a value to `out`, and returns its length; below 0: there is none. */
  private fetch(key: string): i32 {
    const length = this.begin(key);
    const ns = this.handle;
    if (ns < 0) return ns;
    reserve(1);
    let size: i64;
    while ((size = ended(hostGet(ns, input.pointer, length, out, room))) > room) reserve(size as i32);
    return size as i32;
  }

  private write(length: i32, ttl: i64): bool {
    const rest = input.length - length;
    const at = input.pointer;
    const ns = this.handle;
    return ns >= 0 && ended(hostPut(ns, at, length, at + length, rest, ttl)) == 0;
  }

  /** Takes note of how a conditional write ended. */
  private settle(key: string, result: i64): bool {
    State.done = ended(result) == DONE;
    State.found = State.done || State.failed ? NONE : result;
    // What was larger than the room for it is read once more, and may have changed.
    if (State.found > room) State.found = this.fetch(key);
    return State.done;
  }
}

/** Where the input lies, also when it is empty. */
function pointer(): usize {
  input.take(0);
  return input.pointer;
}

/** The value of a key that was read beforehand; a length below 0: there is no such key; null: it was not read. */
function find(items: View, key: string): View | null {
  if (items.length < 4 || load<i32>(items.pointer) != 0) return null;
  const length = byteLength(key);
  const end = items.pointer + items.length;
  for (let at = items.pointer + 4; at < end; ) {
    const keyLength: i32 = load<u32>(at);
    const size: i32 = load<u32>(at, 4);
    at += 8;
    if (keyLength == length && new View(at, length).equals(key)) return new View(at + length, size);
    at += keyLength + max(size, 0);
  }
  return null;
}

function readPage(at: usize, size: i32): StatePage {
  const page = new StatePage();
  const end = at + size;
  const length: i32 = load<u32>(at);
  page.cursor = new View(at + 4, length).bytes();
  at += 4 + length;
  while (at < end) {
    const keyLength: i32 = load<u32>(at);
    page.sizes.push(load<u32>(at, 4));
    page.ttls.push(load<i64>(at, 8));
    page.keys.push(decode(at + 16, keyLength));
    at += 16 + keyLength;
  }
  return page;
}
