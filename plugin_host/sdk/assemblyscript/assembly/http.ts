// Requests to other servers: capability `http`. docs/abi.md, "HTTP requests".

import { Json } from "./json";
import { editBytes, editText, Op } from "./message";
import { Record } from "./record";
import { byteLength, encode } from "./utf8";
import { output, Writer } from "./writer";

@external("plugin_host", "http_send")
declare function hostSend(pointer: usize, length: i32): i32;

@external("plugin_host", "http_receive")
declare function hostReceive(pointer: usize, offset: i32, length: i32): void;

/** How the latest request ended. */
export enum HttpCode {
  Ok = 0,
  /** The app does not allow it, or the address that the name stands for. */
  Denied = -1,
  /** No connection, no valid certificate, or no HTTP. */
  Unreachable = -2,
  /** No whole response in nine tenths of the time that was left to the hook. */
  TimedOut = -3,
  TooLarge = -4,
}

const sent = changetype<Writer>(memory.data(offsetof<Writer>(), 8));
const got = changetype<Writer>(memory.data(offsetof<Writer>(), 8));

/** What a server has answered, a redirect included. It and its views are valid until the next request is sent. */
@unmanaged
export class HttpResponse extends Record {
  /** Receives the response of `length` bytes. @internal */
  static receive(length: i32): HttpResponse {
    got.clear();
    const record = got.take(length);
    hostReceive(record, 0, length);
    current.look(record, 2, length);
    return current;
  }

  get status(): i32 {
    return load<u32>(this.state, 4);
  }
}

const current = changetype<HttpResponse>(memory.data(offsetof<HttpResponse>(), 8));

/** A request to another server. */
export class HttpRequest {
  /** How the latest request ended: an `HttpCode`. */
  static code: i32 = HttpCode.Ok;

  private ops: Op[] = [];
  private names: string[] = [];
  private values: string[] = [];
  private body: Uint8Array | null = null;

  /** @param url `http://` or `https://`, host in lower case, path and query in printable ASCII; another one traps. */
  constructor(
    readonly url: string,
    readonly method: string = "GET",
  ) {}

  /** Sets a header, in place of all of that name. */
  setHeader(name: string, value: string): void {
    this.edit(Op.SetHeader, name, value);
  }

  /** Adds a header beside those of that name. */
  addHeader(name: string, value: string): void {
    this.edit(Op.AddHeader, name, value);
  }

  setBody(text: string): void {
    const bytes = new Uint8Array(byteLength(text));
    encode(text, bytes.dataStart);
    this.body = bytes;
  }

  setBodyBytes(bytes: Uint8Array): void {
    this.body = bytes;
  }

  /** The content type is yours to set. */
  setBodyJson(value: Json): void {
    this.setBody(value.toString());
  }

  /** Waits for the response; null if there is none, and `HttpRequest.code` says why. */
  send(): HttpResponse | null {
    this.encode();
    const length = hostSend(sent.pointer, sent.length);
    HttpRequest.code = min(length, 0);
    return length < 0 ? null : HttpResponse.receive(length);
  }

  /** Writes the edit list to `sent`, and leaves alone the one that the hook may have begun. */
  private encode(): void {
    output.swap(sent);
    output.clear();
    editText(Op.SetPath, "", this.url);
    editText(Op.SetMethod, "", this.method);
    for (let i = 0; i < this.ops.length; i++) editText(this.ops[i], this.names[i], this.values[i]);
    const body = this.body;
    if (body != null) editBytes(Op.SetBody, "", body);
    output.swap(sent);
  }

  private edit(op: Op, name: string, value: string): void {
    this.ops.push(op);
    this.names.push(name);
    this.values.push(value);
  }
}
