// Records, to be read: requests, responses, and what other servers answer (docs/abi.md, section 4).

import { Json } from "./json";
import { decode } from "./utf8";
import { View } from "./view";

const ABSENT: u32 = 0xffffffff;

@unmanaged
export class Record {
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

  /** Looks at the record of `length` bytes at `record`. */
  protected look(record: usize, kind: u8, length: i32): void {
    if (load<u8>(record) != 1 || load<u8>(record, 1) != kind) throw new Error("not such a record of ABI version 1");
    const fields: i32 = load<u16>(record, 2);
    this.fields = fields;
    this.nameLengths = record + 8;
    this.names = record + 8 + 4 * fields;
    this.state = this.names + load<u32>(record, 4);
    this.valueLengths = this.state + 12;
    this.values = this.valueLengths + 4 * fields;
    this.end = record + length;
  }

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

  /** Whether the content type is `application/json` or ends in `+json`, parameters aside. */
  get isJson(): bool {
    const type = this.headerView("content-type");
    const semicolon = type.indexOf(";");
    let end = semicolon < 0 ? type.length : semicolon;
    while (type.at(end - 1) == 0x20 || type.at(end - 1) == 0x09) end--;
    return (end == 16 && endsWith(type, end, "application/json")) || endsWith(type, end, "+json");
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

/** Whether what lies before `end` ends with `text`, which is lower case; capitals are no difference. */
function endsWith(type: View, end: i32, text: string): bool {
  const start = end - text.length;
  if (start < 0) return false;
  for (let i = 0; i < text.length; i++) {
    const byte = type.at(start + i);
    const folded = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
    if (folded != text.charCodeAt(i)) return false;
  }
  return true;
}
