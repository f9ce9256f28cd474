// What requests and responses have in common: a record to read, and an edit list to write (docs/abi.md, section 5).

import { exchange } from "./exchange";
import { Json } from "./json";
import { Record } from "./record";
import { byteLength } from "./utf8";
import { output } from "./writer";

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
export class Message extends Record {
  /** Looks at the record of `length` bytes in the exchange buffer, and begins an empty edit list. */
  protected begin(kind: u8, length: i32): void {
    this.look(exchange(), kind, length);
    output.clear();
  }

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
