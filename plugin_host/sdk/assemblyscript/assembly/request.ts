import { cookieValue, formValue } from "./form";
import { Json } from "./json";
import { editBytes, editStatus, editText, Message, Op } from "./message";
import { View } from "./view";

/** The request that `on_request` receives, and the edits that it returns. */
@unmanaged
export class Request extends Message {
  /** The request of this call: `Request.read(len)` is the first line of an `on_request`. */
  static read(length: i32): Request {
    current.begin(1, length);
    return current;
  }

  /** `GET`, `POST`, … */
  get method(): string {
    return this.field(":method");
  }

  /** `http` or `https`. */
  get scheme(): string {
    return this.field(":scheme");
  }

  /** The `Host` header, or the server's name and port. */
  get host(): string {
    return this.field(":host");
  }

  /** The path below the application's root, percent-decoded. */
  get path(): string {
    return this.field(":path");
  }

  /** The raw query string, without `?`. */
  get query(): string {
    return this.field(":query");
  }

  /** The client's address as the server gives it. */
  get remote(): string {
    return this.field(":remote");
  }

  /** `HTTP/1.1`, … */
  get protocol(): string {
    return this.field(":protocol");
  }

  /** The Flask endpoint that the path routes to; empty when it routes nowhere. */
  get endpoint(): string {
    return this.field(":endpoint");
  }

  /** The view's argument called `name`; null without one. */
  arg(name: string): string | null {
    return formValue(this.headerView(":args"), name);
  }

  /** The first parameter called `name` in the query, decoded; null without one. */
  queryParam(name: string): string | null {
    return formValue(this.headerView(":query"), name);
  }

  /** The first field called `name` of an urlencoded form in the body, decoded; null without one. */
  formField(name: string): string | null {
    return formValue(this.body, name);
  }

  /** The raw `Cookie` header; empty without one. */
  get cookies(): string {
    return this.field(":cookies");
  }

  /** The first cookie called `name`, undecoded but without quotes; null without one. */
  cookie(name: string): string | null {
    return cookieValue(this.headerView(":cookies"), name);
  }

  /** The path in place, for comparisons that decode nothing. */
  get pathView(): View {
    return this.headerView(":path");
  }

  /** Routes the request to another path, percent-decoded. */
  setPath(path: string): void {
    editText(Op.SetPath, "", path);
  }

  /** The same with bytes that are not UTF-8. */
  setPathBytes(path: Uint8Array): void {
    editBytes(Op.SetPath, "", path);
  }

  /** Replaces the query string, raw and without `?`. */
  setQuery(query: string): void {
    editText(Op.SetQuery, "", query);
  }

  setMethod(method: string): void {
    editText(Op.SetMethod, "", method);
  }

  /** Sets `flask.g.<name>` for the view: an identifier that does not start with `_`. */
  setG(name: string, value: string): void {
    editText(Op.SetG, name, value);
  }

  /** Hands `value` to this plugin's `on_response` for the same request (`response.context`). */
  setContext(value: string): void {
    editText(Op.SetContext, "", value);
  }

  setContextBytes(value: Uint8Array): void {
    editBytes(Op.SetContext, "", value);
  }

  /**
   * Answers now: the view is not called. Headers and body that are set afterwards are the answer's.
   *
   * @param body if not empty, it is set together with `contentType`.
   */
  answer(status: i32, body: string = "", contentType: string = "text/plain; charset=utf-8"): void {
    editStatus(Op.Answer, status);
    if (body.length == 0) return;
    this.setHeader("content-type", contentType);
    this.setBody(body);
  }

  /** Answers now, with JSON. */
  answerJson(status: i32, value: Json): void {
    editStatus(Op.Answer, status);
    this.setHeader("content-type", "application/json");
    this.setBodyJson(value);
  }

  private field(name: string): string {
    const value = this.header(name);
    return value == null ? "" : value;
  }
}

const current = changetype<Request>(memory.data(offsetof<Request>(), 8));
