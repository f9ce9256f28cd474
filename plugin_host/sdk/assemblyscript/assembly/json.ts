// JSON as a tree of values. Strict in what it reads (RFC 8259, nothing after the value, at most 100 levels deep), and
// lossless: numbers that are no 64-bit integers keep the text they were written in.

import { byteLength, decodeInto, encode, isPair, malformed, put } from "./utf8";
import { View } from "./view";
import { hexDigit } from "./form";
import { Writer } from "./writer";

const MAX_DEPTH: i32 = 100;

const scratch = changetype<Writer>(memory.data(offsetof<Writer>(), 8));

enum Kind {
  Missing,
  Null,
  Bool,
  Int,
  Number,
  String,
  Array,
  Object,
}

/**
 * A JSON value. Looking up what is not there gives a value that does not exist, never null, so that
 * `quote.get("items").at(0).get("sku").asString("?")` needs no check in between.
 */
export class Json {
  private kind: Kind = Kind.Missing;
  private bits: i64 = 0; // Bool, Int
  private source: string = ""; // String: its text; Number: as written
  private names: string[] | null = null; // Object
  private items: Json[] | null = null; // Array, Object

  /** Why the last `parse` returned null, with the byte offset. */
  static error: string = "";

  /** The value that does not exist. */
  @lazy static readonly missing: Json = new Json();

  // -- making

  /** The value that the bytes hold; null if they are not JSON, and `Json.error` says why. */
  static parse(view: View): Json | null {
    return new Parser(view.pointer, view.pointer + view.length).document();
  }

  /** The same for a string. */
  static parseText(text: string): Json | null {
    const length = byteLength(text);
    const buffer = heap.alloc(length);
    encode(text, buffer);
    const value = new Parser(buffer, buffer + length).document();
    heap.free(buffer);
    return value;
  }

  static object(): Json {
    const value = Json.of(Kind.Object);
    value.names = [];
    value.items = [];
    return value;
  }

  static array(): Json {
    const value = Json.of(Kind.Array);
    value.items = [];
    return value;
  }

  static string(text: string): Json {
    const value = Json.of(Kind.String);
    value.source = text;
    return value;
  }

  static int(number: i64): Json {
    const value = Json.of(Kind.Int);
    value.bits = number;
    return value;
  }

  /** A number; null if it is not finite, since JSON has no such numbers. */
  static number(number: f64): Json {
    return isFinite(number) ? Json.written(number.toString()) : Json.null();
  }

  static bool(flag: bool): Json {
    const value = Json.of(Kind.Bool);
    value.bits = flag ? 1 : 0;
    return value;
  }

  static null(): Json {
    return Json.of(Kind.Null);
  }

  /** A number as written in JSON. @internal */
  static written(source: string): Json {
    const value = Json.of(Kind.Number);
    value.source = source;
    return value;
  }

  private static of(kind: Kind): Json {
    const value = new Json();
    value.kind = kind;
    return value;
  }

  // -- asking

  get exists(): bool {
    return this.kind != Kind.Missing;
  }
  get isNull(): bool {
    return this.kind == Kind.Null;
  }
  get isBool(): bool {
    return this.kind == Kind.Bool;
  }
  /** Whether it is a number without fraction and exponent that fits 64 bits. */
  get isInt(): bool {
    return this.kind == Kind.Int;
  }
  get isNumber(): bool {
    return this.kind == Kind.Int || this.kind == Kind.Number;
  }
  get isString(): bool {
    return this.kind == Kind.String;
  }
  get isArray(): bool {
    return this.kind == Kind.Array;
  }
  get isObject(): bool {
    return this.kind == Kind.Object;
  }

  /** The text of a string, else `fallback`. */
  asString(fallback: string = ""): string {
    return this.kind == Kind.String ? this.source : fallback;
  }

  /** A number that `isInt`, else `fallback`. */
  asInt(fallback: i64 = 0): i64 {
    return this.kind == Kind.Int ? this.bits : fallback;
  }

  /** Any number, else `fallback`. */
  asNumber(fallback: f64 = 0): f64 {
    if (this.kind == Kind.Int) return this.bits as f64;
    return this.kind == Kind.Number ? F64.parseFloat(this.source) : fallback;
  }

  asBool(fallback: bool = false): bool {
    return this.kind == Kind.Bool ? this.bits != 0 : fallback;
  }

  /** The number of values in an array or object, else 0. */
  get length(): i32 {
    const items = this.items;
    return items == null ? 0 : items.length;
  }

  /** The value at `index` of an array, or of an object in the order of its keys. */
  at(index: i32): Json {
    const items = this.items;
    return items != null && (index as u32) < (items.length as u32) ? unchecked(items[index]) : Json.missing;
  }

  /** The key at `index` of an object, else an empty string. */
  keyAt(index: i32): string {
    const names = this.names;
    return names != null && (index as u32) < (names.length as u32) ? unchecked(names[index]) : "";
  }

  /** The value of `key` in an object; of several the last, as in Python. */
  get(key: string): Json {
    return this.at(this.indexOf(key));
  }

  has(key: string): bool {
    return this.indexOf(key) >= 0;
  }

  private indexOf(key: string): i32 {
    const names = this.names;
    return names == null ? -1 : names.lastIndexOf(key);
  }

  // -- changing

  /** Sets `key` of an object. Anything but an object traps: the plugin is wrong. */
  set(key: string, value: Json): Json {
    const names = this.names;
    const items = this.items;
    if (names == null || items == null) throw new Error("Json.set() on what is no object");
    const index = names.lastIndexOf(key);
    if (index >= 0) {
      items[index] = value;
    } else {
      names.push(key);
      items.push(value);
    }
    return this;
  }

  setString(key: string, text: string): Json {
    return this.set(key, Json.string(text));
  }
  setInt(key: string, number: i64): Json {
    return this.set(key, Json.int(number));
  }
  setNumber(key: string, number: f64): Json {
    return this.set(key, Json.number(number));
  }
  setBool(key: string, flag: bool): Json {
    return this.set(key, Json.bool(flag));
  }

  /** Adds a key without a look at the others. @internal */
  append(key: string, value: Json): void {
    this.names!.push(key);
    this.items!.push(value);
  }

  /** Removes `key` of an object, if it is there. */
  remove(key: string): void {
    const names = this.names;
    const items = this.items;
    if (names == null || items == null) return;
    for (let index = names.lastIndexOf(key); index >= 0; index = names.lastIndexOf(key)) {
      names.splice(index, 1);
      items.splice(index, 1);
    }
  }

  /** Appends to an array. Anything but an array traps. */
  push(value: Json): Json {
    const items = this.items;
    if (items == null || this.kind != Kind.Array) throw new Error("Json.push() on what is no array");
    items.push(value);
    return this;
  }

  // -- writing

  /** The JSON text, without spaces. */
  toString(): string {
    this.write(scratch);
    const text = new View(scratch.pointer, scratch.length).text();
    scratch.free();
    return text;
  }

  /** Writes the JSON text, in UTF-8; a value that does not exist as `null`. @internal */
  write(writer: Writer): void {
    switch (this.kind) {
      case Kind.Bool:
        return writer.text(this.bits != 0 ? "true" : "false");
      case Kind.Int:
        return writer.text(this.bits.toString());
      case Kind.Number:
        return writer.text(this.source);
      case Kind.String:
        return writeString(writer, this.source);
      case Kind.Array:
      case Kind.Object:
        return this.writeItems(writer);
      default:
        return writer.text("null");
    }
  }

  private writeItems(writer: Writer): void {
    const isObject = this.kind == Kind.Object;
    writer.byte(isObject ? 0x7b : 0x5b);
    for (let i = 0; i < this.length; i++) {
      if (i > 0) writer.byte(0x2c);
      if (isObject) {
        writeString(writer, this.keyAt(i));
        writer.byte(0x3a);
      }
      this.at(i).write(writer);
    }
    writer.byte(isObject ? 0x7d : 0x5d);
  }
}

function writeString(writer: Writer, text: string): void {
  writer.byte(0x22);
  for (let i = 0; i < text.length; i++) {
    let code: u32 = text.charCodeAt(i);
    if (code == 0x22 || code == 0x5c) {
      writer.byte(0x5c);
      writer.byte(code as u8);
    } else if (isPair(text, i)) {
      put(((code - 0xd7c0) << 10) | (text.charCodeAt(++i) & 0x3ff), writer.take(4));
    } else if (code < 0x20 || (code & 0xf800) == 0xd800) {
      writeEscape(writer, code); // a lone surrogate has no UTF-8
    } else {
      put(code, writer.take(code < 0x80 ? 1 : code < 0x800 ? 2 : 3));
    }
  }
  writer.byte(0x22);
}

function writeEscape(writer: Writer, unit: u32): void {
  writer.byte(0x5c);
  if (unit == 0x0a) return writer.byte(0x6e);
  if (unit == 0x0d) return writer.byte(0x72);
  if (unit == 0x09) return writer.byte(0x74);
  writer.byte(0x75);
  for (let shift = 12; shift >= 0; shift -= 4) {
    const digit = (unit >> shift) & 15;
    writer.byte((digit < 10 ? 0x30 + digit : 0x57 + digit) as u8);
  }
}

/** One pass over the bytes. The first thing that is wrong sets `fault`, and everything returns. */
class Parser {
  private at: usize;
  private fault: string = "";
  private faultAt: usize = 0;

  constructor(
    private readonly start: usize,
    private readonly end: usize,
  ) {
    this.at = start;
  }

  document(): Json | null {
    const value = this.value(0);
    this.space();
    if (this.fault.length == 0 && this.at < this.end) this.expected("the end");
    if (this.fault.length == 0) return value;
    Json.error = this.fault + " at byte " + this.faultAt.toString();
    return null;
  }

  /** The next byte, or -1 at the end and after a fault. */
  private peek(): i32 {
    return this.at < this.end && this.fault.length == 0 ? load<u8>(this.at) : -1;
  }

  private space(): void {
    for (let byte = this.peek(); byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09; byte = this.peek()) {
      this.at++;
    }
  }

  private skip(byte: i32): bool {
    if (this.peek() != byte) return false;
    this.at++;
    return true;
  }

  private expected(what: string): void {
    this.wrong("expected " + what);
  }

  private wrong(what: string): void {
    if (this.fault.length != 0) return;
    this.fault = what;
    this.faultAt = this.at - this.start;
  }

  private value(depth: i32): Json {
    this.space();
    const byte = this.peek();
    if (byte == 0x7b) return this.object(depth);
    if (byte == 0x5b) return this.array(depth);
    if (byte == 0x22) return Json.string(this.string());
    if (byte == 0x2d || isDigit(byte)) return this.number();
    if (byte == 0x74 && this.word("true")) return Json.bool(true);
    if (byte == 0x66 && this.word("false")) return Json.bool(false);
    if (byte == 0x6e && this.word("null")) return Json.null();
    this.expected("a value");
    return Json.missing;
  }

  private word(word: string): bool {
    if (!new View(this.at, (this.end - this.at) as i32).startsWith(word)) return false;
    this.at += word.length;
    return true;
  }

  /** Passes the opening bracket; false if that is one too deep. */
  private open(depth: i32): bool {
    if (depth >= MAX_DEPTH) {
      this.wrong("nested more than " + MAX_DEPTH.toString() + " deep");
      return false;
    }
    this.at++;
    this.space();
    return true;
  }

  private array(depth: i32): Json {
    const array = Json.array();
    if (!this.open(depth) || this.skip(0x5d)) return array;
    do {
      array.push(this.value(depth + 1));
      this.space();
    } while (this.skip(0x2c));
    if (!this.skip(0x5d)) this.expected("',' or ']'");
    return array;
  }

  private object(depth: i32): Json {
    const object = Json.object();
    if (!this.open(depth) || this.skip(0x7d)) return object;
    do {
      this.space();
      if (this.peek() != 0x22) this.expected("a key");
      const key = this.string();
      this.space();
      if (!this.skip(0x3a)) this.expected("':'");
      object.append(key, this.value(depth + 1));
      this.space();
    } while (this.skip(0x2c));
    if (!this.skip(0x7d)) this.expected("',' or '}'");
    return object;
  }

  private number(): Json {
    const start = this.at;
    this.skip(0x2d);
    if (!this.skip(0x30)) this.digits();
    let whole = true;
    if (this.skip(0x2e)) {
      whole = false;
      this.digits();
    }
    if (this.skip(0x65) || this.skip(0x45)) {
      whole = false;
      if (!this.skip(0x2b)) this.skip(0x2d);
      this.digits();
    }
    return whole ? this.integer(start) : this.asWritten(start);
  }

  private digits(): void {
    const start = this.at;
    while (isDigit(this.peek())) this.at++;
    if (this.at == start) this.expected("a digit");
  }

  /** The integer from `start` to here; one beyond 64 bits, and -0, stay as written. */
  private integer(start: usize): Json {
    const negative = load<u8>(start) == 0x2d;
    const limit: u64 = negative ? 0x8000000000000000 : 0x7fffffffffffffff;
    let magnitude: u64 = 0;
    for (let at = start + (negative ? 1 : 0); at < this.at; at++) {
      const digit = (load<u8>(at) - 0x30) as u64;
      if (magnitude > (limit - digit) / 10) return this.asWritten(start);
      magnitude = magnitude * 10 + digit;
    }
    if (negative && magnitude == 0) return this.asWritten(start);
    return Json.int(negative ? (0 - magnitude) as i64 : (magnitude as i64));
  }

  private asWritten(start: usize): Json {
    return Json.written(new View(start, (this.at - start) as i32).text());
  }

  /** The text of the string whose opening quote is next. */
  private string(): string {
    if (!this.skip(0x22)) return "";
    const room = this.roomForString();
    if (room == 0) return "";
    const text = __new(room << 1, idof<string>());
    let stop = text;
    while (this.fault.length == 0 && !this.skip(0x22)) stop = this.skip(0x5c) ? this.escape(stop) : this.plain(stop);
    return changetype<string>(__renew(text, stop - text));
  }

  /** Bytes up to the closing quote, which is there; 0 for a string that is empty (and passed) or faulty. */
  private roomForString(): usize {
    let at = this.at;
    for (; at < this.end && load<u8>(at) != 0x22; at++) {
      if (load<u8>(at) < 0x20) {
        this.at = at;
        this.wrong("control character in a string");
        return 0;
      }
      if (load<u8>(at) == 0x5c) at++;
    }
    if (at >= this.end) {
      this.at = this.end;
      this.wrong("unterminated string");
      return 0;
    }
    const room = at - this.at;
    if (room == 0) this.at++; // an empty string: its closing quote
    return room;
  }

  /** Copies up to the next quote or backslash. */
  private plain(target: usize): usize {
    let stop = this.at;
    while (load<u8>(stop) != 0x22 && load<u8>(stop) != 0x5c) stop++;
    const written = decodeInto(this.at, stop, target);
    if (malformed) this.wrong("malformed UTF-8 in the string");
    this.at = stop;
    return written;
  }

  /** Writes what the escape stands for whose backslash was just passed. */
  private escape(target: usize): usize {
    const letter = load<u8>(this.at++);
    let unit: u32 = letter;
    if (letter == 0x75) unit = this.hex4();
    else if (letter == 0x6e) unit = 0x0a;
    else if (letter == 0x74) unit = 0x09;
    else if (letter == 0x72) unit = 0x0d;
    else if (letter == 0x62) unit = 0x08;
    else if (letter == 0x66) unit = 0x0c;
    else if (letter != 0x22 && letter != 0x5c && letter != 0x2f) this.wrong("unknown escape");
    store<u16>(target, unit as u16);
    return target + 2;
  }

  private hex4(): u32 {
    let unit: u32 = 0;
    for (let i = 0; i < 4; i++) {
      const digit = hexDigit(load<u8>(this.at));
      if (digit < 0) {
        this.wrong("expected a hexadecimal digit");
        return 0;
      }
      unit = (unit << 4) | digit;
      this.at++;
    }
    return unit;
  }
}

function isDigit(byte: i32): bool {
  return byte >= 0x30 && byte <= 0x39;
}
