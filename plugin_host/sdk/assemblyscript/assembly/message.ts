// What requests and responses have in common: a record to read (docs/abi.md, section 4) and an edit list to write
// (section 5).

import { exchange } from "./exchange";
import { Json } from "./json";
import { byteLength, decode } from "./utf8";
import { View } from "./view";
import { output } from "./writer";

const ABSENT: u32 = 0xffffffff;
const EDITS_HEAD: u32 = 0x0301; // version 1, kind 3, as one little-endian u32

export const enum Op {
  SetHeader = 1,
  AddHeader,
  RemoveHeader,
  SetPath,
  SetQuery,
  SetMethod,
  SetBody,
  SetG,
  SetContext,
  Answer,
  SetStatus,
}

@unmanaged
export class Message {
  private fields: i32;
  private nameLengths: usize;
  private names: usize;
  private valueLengths: usize;
  private values: usize;
  private end: usize;
  protected state: usize;

  // What `find` found; no object is made for a value that is only looked at.
  private foundAt: usize;
  private foundLength: i32;

  /** Looks at the record of `length` bytes in the exchange buffer, and begins an empty edit list. */
  protected begin(kind: u8, length: i32): void {
    const record = exchange();
    if (load<u8>(record) != 1 || load<u8>(record, 1) != kind) throw new Error("not such a record of ABI version 1");
    const fields: i32 = load<u16>(record, 2);
    this.fields = fields;
    this.nameLengths = record + 8;
    this.names = record + 8 + 4 * fields;
    this.state = this.names + load<u32>(record, 4);
    this.valueLengths = this.state + 12;
    this.values = this.valueLengths + 4 * fields;
    this.end = record + length;
    output.clear();
  }

  // -- reading

  /** Whether there is a header (or `:field`) called `name`. */
  has(name: string): bool {
    return this.find(name);
  }

  /** The first header called `name`, in any case; null if it was not sent. */
  header(name: string): string | null {
    return this.find(name) ? decode(this.foundAt, this.foundLength) : null;
  }

  /** The same, in place; an empty view if it was not sent. */
  headerView(name: string): View {
    return this.find(name) ? new View(this.foundAt, this.foundLength) : new View(this.end, 0);
  }

  /** Every header called `name`. */
  headers(name: string): string[] {
    const all: string[] = [];
    for (let i = this.locate(name, 0); i >= 0; i = this.locate(name, i + 1)) {
      all.push(decode(this.foundAt, this.foundLength));
    }
    return all;
  }

  /** The number of fields in the record, absent ones included. */
  get fieldCount(): i32 {
    return this.fields;
  }

  /** The name of field `index`; names of headers are lower case, others start with `:`. */
  fieldName(index: i32): View {
    let pointer = this.names;
    for (let i = 0; i < index; i++) pointer += load<u32>(this.nameLengths + 4 * i);
    return new View(pointer, load<u32>(this.nameLengths + 4 * index));
  }

  /** The value of field `index`; null if it is absent. */
  fieldValue(index: i32): View | null {
    let pointer = this.values;
    for (let i = 0; i < index; i++) pointer += size(this.valueLengths + 4 * i);
    const length = load<u32>(this.valueLengths + 4 * index);
    return length == ABSENT ? null : new View(pointer, length);
  }

  /** Whether the body came along; it may be empty. */
  get hasBody(): bool {
    return (load<u32>(this.state) & 1) != 0;
  }

  /** Whether a body that the manifest asks for was left out: too large, streamed, or there can be none. */
  get bodyOmitted(): bool {
    return (load<u32>(this.state) & 2) != 0;
  }

  /** The body in place. */
  get body(): View {
    const length = load<u32>(this.state, 8);
    return new View(this.end - length, length);
  }

  /** The body's text. */
  text(): string {
    return this.body.text();
  }

  /** The body as JSON; null if it is not (`Json.error` says why). */
  json(): Json | null {
    return Json.parse(this.body);
  }

  protected find(name: string): bool {
    return this.locate(name, 0) >= 0;
  }

  /** The index of the first present field called `name` at or after `from`, or -1. */
  private locate(name: string, from: i32): i32 {
    let nameAt = this.names;
    let valueAt = this.values;
    for (let i = 0; i < this.fields; i++) {
      const nameLength: i32 = load<u32>(this.nameLengths + 4 * i);
      const valueLength = load<u32>(this.valueLengths + 4 * i);
      if (i >= from && nameLength == name.length && valueLength != ABSENT && isNamed(nameAt, name)) {
        this.foundAt = valueAt;
        this.foundLength = valueLength;
        return i;
      }
      nameAt += nameLength;
      valueAt += size(this.valueLengths + 4 * i);
    }
    return -1;
  }

  // -- editing

  /** Sets a header, in place of all of that name. */
  setHeader(name: string, value: string): void {
    editText(Op.SetHeader, name, value);
  }

  /** Adds a header beside those of that name. */
  addHeader(name: string, value: string): void {
    editText(Op.AddHeader, name, value);
  }

  /** The same two with bytes that are not UTF-8. */
  setHeaderBytes(name: string, value: Uint8Array): void {
    editBytes(Op.SetHeader, name, value);
  }
  addHeaderBytes(name: string, value: Uint8Array): void {
    editBytes(Op.AddHeader, name, value);
  }

  /** Removes all headers of that name. */
  removeHeader(name: string): void {
    editText(Op.RemoveHeader, name, "");
  }

  /** Replaces the body. */
  setBody(text: string): void {
    editText(Op.SetBody, "", text);
  }

  /** Replaces the body with these bytes. */
  setBodyBytes(bytes: Uint8Array): void {
    editBytes(Op.SetBody, "", bytes);
  }

  /** Replaces the body with JSON; the content type is yours to set. */
  setBodyJson(value: Json): void {
    head(Op.SetBody, "", 0);
    const start = output.length;
    value.write(output);
    output.patch(start - 4, output.length - start);
  }

  /** What the hook returns: 0 without an edit, which costs the host nothing. */
  done(): i64 {
    return output.length == 0 ? 0 : output.result();
  }
}

/** The number of bytes that the value with this length entry takes. */
function size(entry: usize): usize {
  const length = load<u32>(entry);
  return length == ABSENT ? 0 : length;
}

/** Whether the lower-case name at `pointer` is `name`, whose length it has. */
function isNamed(pointer: usize, name: string): bool {
  for (let i = 0; i < name.length; i++) {
    let unit = name.charCodeAt(i);
    if (unit >= 0x41 && unit <= 0x5a) unit |= 0x20;
    if (load<u8>(pointer + i) != unit) return false;
  }
  return true;
}

/** Begins an edit: everything but its value. */
function head(op: Op, name: string, valueLength: i32): void {
  if (output.length == 0) store<u32>(output.take(4), EDITS_HEAD);
  const nameLength = byteLength(name);
  if (nameLength > 0xffff) throw new Error("a name longer than 65535 bytes");
  const edit = output.take(8);
  store<u16>(edit, op as u16);
  store<u16>(edit, nameLength as u16, 2);
  store<u32>(edit, valueLength, 4);
  output.text(name);
}

export function editBytes(op: Op, name: string, value: Uint8Array): void {
  head(op, name, value.length);
  output.copy(value.dataStart, value.length);
}

export function editText(op: Op, name: string, value: string): void {
  head(op, name, byteLength(value));
  output.text(value);
}

export function editStatus(op: Op, status: i32): void {
  head(op, "", 2);
  store<u16>(output.take(2), status as u16);
}
