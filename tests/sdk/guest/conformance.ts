// Reads every record and writes every edit that the ABI knows, only with what the SDK exports.

import {
  fail, formText, formValue, Json, keyedHash, log, monotonicNanos, parseTime, payload, payloadJson, random, randomBytes,
  replyBytes, reply, replyJson, Request, Response, share, siphash, unixMillis, unixNanos, View, noAnswer, unchanged,
  config, configBool, configInt, configNumber, configString,
} from "@flask-plugin-host/sdk"; // prettier-ignore

export { ph_abi_version, ph_alloc, ph_init } from "@flask-plugin-host/sdk";

// -- records: the record again, from what the SDK reads

/** Builds a record of the same content; only names, values, flags, status and body are asked from the SDK. */
class Rebuilt {
  bytes: Uint8Array = new Uint8Array(0);
  at: i32 = 0;

  u32(value: u32): void {
    store<u32>(this.bytes.dataStart + this.at, value);
    this.at += 4;
  }

  view(view: View): void {
    memory.copy(this.bytes.dataStart + this.at, view.pointer, view.length);
    this.at += view.length;
  }
}

function rebuild<T>(message: T, kind: u8, status: u32): i64 {
  const fields = message.fieldCount;
  let names = 0;
  let values = 0;
  for (let i = 0; i < fields; i++) {
    const value = message.fieldValue(i);
    names += message.fieldName(i).length;
    if (value != null) values += value.length;
  }
  const padded = (names + 3) & ~3;
  const out = new Rebuilt();
  out.bytes = new Uint8Array(20 + 8 * fields + padded + values + message.body.length);
  out.u32(1 | ((kind as u32) << 8) | ((fields as u32) << 16));
  out.u32(padded);
  for (let i = 0; i < fields; i++) out.u32(message.fieldName(i).length);
  for (let i = 0; i < fields; i++) out.view(message.fieldName(i));
  out.at += padded - names;
  out.u32((message.hasBody ? 1 : 0) | (message.bodyOmitted ? 2 : 0));
  out.u32(status);
  out.u32(message.body.length);
  for (let i = 0; i < fields; i++) {
    const value = message.fieldValue(i);
    out.u32(value == null ? u32.MAX_VALUE : value.length);
  }
  for (let i = 0; i < fields; i++) {
    const value = message.fieldValue(i);
    if (value != null) out.view(value);
  }
  out.view(message.body);
  return replyBytes(out.bytes);
}

export function rebuild_request(len: i32): i64 {
  return rebuild<Request>(Request.read(len), 1, 0);
}

export function rebuild_response(len: i32): i64 {
  const response = Response.read(len);
  return rebuild<Response>(response, 2, response.status);
}

function text(value: string | null): Json {
  return value == null ? Json.null() : Json.string(value);
}

/** What the named getters say about a request, and what the look-ups by name find. */
export function describe_request(len: i32): i64 {
  const request = Request.read(len);
  const said = Json.object()
    .setString("method", request.method)
    .setString("scheme", request.scheme)
    .setString("host", request.host)
    .setString("path", request.path)
    .setString("query", request.query)
    .setString("remote", request.remote)
    .setString("protocol", request.protocol)
    .setString("endpoint", request.endpoint)
    .setString("cookies", request.cookies)
    .setBool("path view", request.pathView.equals(request.path))
    .set("arg sku", text(request.arg("sku")))
    .set("query q", text(request.queryParam("q")))
    .set("form f", text(request.formField("f")))
    .set("cookie user", text(request.cookie("user")))
    .set("X-USER", text(request.header("X-USER")))
    .setBool("has x-user", request.has("x-user"))
    .setString("x-user view", request.headerView("x-user").text());
  return replyJson(said);
}

export function describe_response(len: i32): i64 {
  const response = Response.read(len);
  const cookies = Json.array();
  const all = response.headers("Set-Cookie");
  for (let i = 0; i < all.length; i++) cookies.push(Json.string(all[i]));
  const said = Json.object()
    .setInt("status", response.status)
    .setBool("json", response.isJson)
    .setString("context", response.context.text())
    .setString("text", response.text())
    .set("cookies", cookies);
  return replyJson(said);
}

// -- edits: the body is a script of edits in the list's own layout, without its first four bytes

class Step {
  op: i32 = 0;
  name: string = "";
  value: View = new View(0, 0);
}

function step(script: View, at: i32): Step {
  const one = new Step();
  const nameLength: i32 = load<u16>(script.pointer + at + 2);
  const valueLength: i32 = load<u32>(script.pointer + at + 4);
  one.op = script.at(at);
  one.name = script.slice(at + 8, at + 8 + nameLength).text();
  one.value = script.slice(at + 8 + nameLength, at + 8 + nameLength + valueLength);
  return one;
}

export function edit_request(len: i32): i64 {
  const request = Request.read(len);
  const script = request.body;
  for (let at = 0; at < script.length; ) {
    const one = step(script, at);
    const value = one.value;
    const isText = value.isUtf8();
    at = (value.pointer - script.pointer) as i32 + value.length;
    if (one.op == 1 && isText) request.setHeader(one.name, value.text());
    else if (one.op == 1) request.setHeaderBytes(one.name, value.bytes());
    else if (one.op == 2 && isText) request.addHeader(one.name, value.text());
    else if (one.op == 2) request.addHeaderBytes(one.name, value.bytes());
    else if (one.op == 3) request.removeHeader(one.name);
    else if (one.op == 4 && isText) request.setPath(value.text());
    else if (one.op == 4) request.setPathBytes(value.bytes());
    else if (one.op == 5) request.setQuery(value.text());
    else if (one.op == 6) request.setMethod(value.text());
    else if (one.op == 7 && isText) request.setBody(value.text());
    else if (one.op == 7) request.setBodyBytes(value.bytes());
    else if (one.op == 8) request.setG(one.name, value.text());
    else if (one.op == 9 && isText) request.setContext(value.text());
    else if (one.op == 9) request.setContextBytes(value.bytes());
    else if (one.op == 10) request.answer(load<u16>(value.pointer));
    else return fail("unknown op " + one.op.toString());
  }
  return request.done();
}

export function edit_response(len: i32): i64 {
  const response = Response.read(len);
  const script = response.body;
  for (let at = 0; at < script.length; ) {
    const one = step(script, at);
    const value = one.value;
    const isText = value.isUtf8();
    at = (value.pointer - script.pointer) as i32 + value.length;
    if (one.op == 1 && isText) response.setHeader(one.name, value.text());
    else if (one.op == 1) response.setHeaderBytes(one.name, value.bytes());
    else if (one.op == 2 && isText) response.addHeader(one.name, value.text());
    else if (one.op == 2) response.addHeaderBytes(one.name, value.bytes());
    else if (one.op == 3) response.removeHeader(one.name);
    else if (one.op == 7 && isText) response.setBody(value.text());
    else if (one.op == 7) response.setBodyBytes(value.bytes());
    else if (one.op == 11) response.setStatus(load<u16>(value.pointer));
    else return fail("unknown op " + one.op.toString());
  }
  return response.done();
}

/** `answer` and `answerJson` with a body, and a JSON body set by itself. */
export function answer_text(len: i32): i64 {
  const request = Request.read(len);
  request.answer(403, "nö\n");
  return request.done();
}

export function answer_json(len: i32): i64 {
  const request = Request.read(len);
  request.answerJson(409, Json.object().setString("error", "sold out"));
  return request.done();
}

export function body_json(len: i32): i64 {
  const response = Response.read(len);
  const body = response.json();
  if (body == null) return fail(Json.error);
  response.setBodyJson(body.setInt("seen", 1));
  response.setHeader("x-after", "1");
  return response.done();
}

export function touch_nothing(len: i32): i64 {
  const request = Request.read(len);
  return request.path == "/never" ? unchanged : request.done();
}

// -- JSON

export function json_again(len: i32): i64 {
  const value = payloadJson(len);
  return value == null ? fail(Json.error) : replyJson(value);
}

/** The same over strings instead of bytes. */
export function json_text_again(len: i32): i64 {
  const value = Json.parseText(payload(len).text());
  return value == null ? fail(Json.error) : reply(value.toString());
}

/** What each accessor says about the payload, with fallbacks that no test uses as a value. */
export function json_describe(len: i32): i64 {
  const value = payloadJson(len);
  if (value == null) return fail(Json.error);
  const kinds = Json.array();
  if (value.exists) kinds.push(Json.string("exists"));
  if (value.isNull) kinds.push(Json.string("null"));
  if (value.isBool) kinds.push(Json.string("bool"));
  if (value.isInt) kinds.push(Json.string("int"));
  if (value.isNumber) kinds.push(Json.string("number"));
  if (value.isString) kinds.push(Json.string("string"));
  if (value.isArray) kinds.push(Json.string("array"));
  if (value.isObject) kinds.push(Json.string("object"));
  const said = Json.object()
    .set("kinds", kinds)
    .setString("string", value.asString("fallback"))
    .setInt("int", value.asInt(-77))
    .setNumber("number", value.asNumber(-77.5))
    .setBool("bool", value.asBool(true))
    .setInt("length", value.length)
    .setString("first key", value.keyAt(0))
    .set("first", value.at(0))
    .set("a", value.get("a"))
    .setBool("has a", value.has("a"))
    .setBool("nowhere exists", value.get("no").at(3).get("where").exists);
  return replyJson(said);
}

/** Every way to make and change a value. */
export function json_build(_len: i32): i64 {
  const value = Json.object()
    .setString("s", 'q" b\\ n\n ü 😀 \u0001')
    .setInt("i", i64.MIN_VALUE)
    .setNumber("n", 0.1)
    .setNumber("nan", NaN)
    .setBool("b", true)
    .set("z", Json.null())
    .set("gone", Json.bool(false))
    .set("a", Json.array().push(Json.int(1)).push(Json.string("x")).push(Json.object()));
  value.setString("i", "replaced");
  value.remove("gone");
  value.remove("never there");
  return replyJson(value);
}

// -- helpers

/** `{"form": …, "name": …}` to the value in the form, and the whole form decoded. */
export function form(len: i32): i64 {
  const value = payloadJson(len);
  if (value == null) return fail(Json.error);
  const source = Uint8Array.wrap(String.UTF8.encode(value.get("form").asString()));
  const view = new View(source.dataStart, source.length);
  const answer = Json.object()
    .set("value", text(formValue(view, value.get("name").asString())))
    .setString("text", formText(view));
  return replyJson(answer);
}

/** `{"view": …, "text": …}` to what each comparison says. */
export function compare(len: i32): i64 {
  const value = payloadJson(len);
  if (value == null) return fail(Json.error);
  const source = Uint8Array.wrap(String.UTF8.encode(value.get("view").asString()));
  const view = new View(source.dataStart, source.length);
  const other = value.get("text").asString();
  const answer = Json.object()
    .setBool("equals", view.equals(other))
    .setBool("starts", view.startsWith(other))
    .setBool("ends", view.endsWith(other))
    .setBool("contains", view.contains(other))
    .setInt("index", view.indexOf(other))
    .setInt("next", view.indexOf(other, 1))
    .setBool("empty", view.isEmpty)
    .setString("middle", view.slice(1, -1 + view.length).text())
    .setInt("outside", view.at(view.length));
  return replyJson(answer);
}

/** The payload decoded and encoded again. */
export function text_again(len: i32): i64 {
  return reply(payload(len).text());
}

export function time(len: i32): i64 {
  return reply(parseTime(payload(len).text()).toString());
}

/** SipHash-2-4 of the payload under the key 00 01 … 0f, the one of its reference vectors. */
export function sip(len: i32): i64 {
  const view = payload(len);
  return reply(siphash(0x0706050403020100, 0x0f0e0d0c0b0a0908, view.pointer, view.length).toString());
}

/** The share of `{"secret": …, "text": …}`. */
export function hashed_share(len: i32): i64 {
  const value = payloadJson(len);
  if (value == null) return fail(Json.error);
  const hash = keyedHash(value.get("secret").asString(), value.get("text").asString());
  return replyJson(Json.number(share(hash)));
}

export function configured(_len: i32): i64 {
  const answer = Json.object()
    .setString("s", configString("s", "fallback"))
    .setInt("i", configInt("i", -77))
    .setNumber("n", configNumber("n", -77.5))
    .setBool("b", configBool("b", true))
    .set("tree", config("tree").at(0));
  return replyJson(answer);
}

/** Calls every host function once; the payload is what is logged. */
export function use_host(len: i32): i64 {
  const message = payload(len).text();
  log.debug(message);
  log.info(message);
  log.warning(message);
  log.error(message);
  const bytes = randomBytes(70000);
  const number = random();
  const answer = Json.object()
    .setInt("nanos", unixNanos())
    .setInt("millis", unixMillis())
    .setInt("monotonic", monotonicNanos())
    .setInt("first", bytes[0])
    .setInt("last", bytes[69999])
    .setNumber("number", number);
  return replyJson(answer);
}

export function say_nothing(_len: i32): i64 {
  return noAnswer;
}

export function say_empty(_len: i32): i64 {
  return reply("");
}

export function failing(len: i32): i64 {
  return fail(payload(len).text());
}
