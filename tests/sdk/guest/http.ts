// Requests to other servers through the SDK; each hook does one thing.

import {
  fail, HttpCode, HttpRequest, HttpResponse, Json, payload, payloadJson, reply, replyJson, Request,
} from "@flask-plugin-host/sdk"; // prettier-ignore

export { ph_abi_version, ph_alloc } from "@flask-plugin-host/sdk";

/** What the SDK reads of a response. */
function told(response: HttpResponse | null): Json {
  const said = Json.object().setInt("code", HttpRequest.code);
  if (response == null) return said;
  const all = Json.array();
  const values = response.headers("x-a");
  for (let i = 0; i < values.length; i++) all.push(Json.string(values[i]));
  return said
    .setInt("status", response.status)
    .set("x-a", all)
    .setBool("is json", response.isJson)
    .setBool("has body", response.hasBody)
    .setInt("length", response.body.length)
    .setString("text", response.text());
}

export function get(len: i32): i64 {
  return replyJson(told(new HttpRequest(payload(len).text()).send()));
}

export function post_json(len: i32): i64 {
  const wanted = payloadJson(len)!;
  const request = new HttpRequest(wanted.get("url").asString(), "POST");
  request.setHeader("content-type", "application/json");
  request.setBodyJson(wanted.get("body"));
  const response = request.send();
  if (response == null) return fail("no response");
  const json = response.json();
  return json == null ? fail("no JSON") : replyJson(json);
}

/** Two requests that are made up at the same time, and of which the later one is sent first. */
export function put_two(len: i32): i64 {
  const url = payload(len).text();
  const first = new HttpRequest(url + "/1", "PUT");
  const second = new HttpRequest(url + "/2", "PUT");
  first.setBody("wörld");
  second.setBodyBytes(Uint8Array.wrap(String.UTF8.encode("bytes")));
  first.addHeader("x-b", "1");
  second.setHeader("x-b", "0");
  first.addHeader("x-b", "2");
  second.setHeader("X-B", "3");
  const answers = Json.array();
  answers.push(told(second.send()));
  return replyJson(answers.push(told(first.send())));
}

/** Edits before and after a request are one list of edits. */
export function on_request(len: i32): i64 {
  const request = Request.read(len);
  request.setG("before", request.path);
  const response = new HttpRequest(request.header("x-url")!).send();
  request.setG("answer", response == null ? "none" : response.text());
  request.setG("after", request.method);
  return request.done();
}

export function why_not(len: i32): i64 {
  const response = new HttpRequest(payload(len).text()).send();
  if (response != null) return reply("answered");
  switch (HttpRequest.code) {
    case HttpCode.Denied: return reply("denied"); // prettier-ignore
    case HttpCode.Unreachable: return reply("unreachable"); // prettier-ignore
    case HttpCode.TimedOut: return reply("timed out"); // prettier-ignore
    case HttpCode.TooLarge: return reply("too large"); // prettier-ignore
  }
  return fail("code " + HttpRequest.code.toString());
}
