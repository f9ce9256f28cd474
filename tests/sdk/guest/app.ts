// What the SDK offers to tell, ask and count; each hook does one thing.

import {
  App, AskCode, count, emit, emitBytes, emitJson, Json, observe, payload, payloadJson, reply, replyBytes, replyJson, noAnswer,
} from "@flask-plugin-host/sdk"; // prettier-ignore

export { ph_abi_version, ph_alloc } from "@flask-plugin-host/sdk";

export function tell(len: i32): i64 {
  const text = payload(len).text();
  const told = emit("text", text) && emitBytes("bytes", payload(len).bytes()) && emit("empty");
  return reply((told && emitJson("json", Json.array().push(Json.string(text)))).toString());
}

export function tell_too_much(len: i32): i64 {
  let told = 0;
  while (told < 1000 && emit("more")) told++;
  return reply(told.toString());
}

export function ask_text(len: i32): i64 {
  const answer = App.ask("text", payload(len).text());
  return answer == null ? reply(App.code.toString()) : reply(answer);
}

export function ask_bytes(len: i32): i64 {
  const answer = App.askBytes("bytes", payload(len).bytes());
  return answer == null ? reply(App.code.toString()) : replyBytes(answer);
}

export function ask_json(len: i32): i64 {
  const answer = App.askJson("json", payloadJson(len));
  return answer == null ? reply(App.code.toString()) : replyJson(answer);
}

export function ask_nobody(len: i32): i64 {
  App.ask("text", "once");
  if (App.code != AskCode.Ok) return noAnswer;
  App.askJson("nobody");
  return reply((App.code == AskCode.Unknown).toString());
}

export function read_session(len: i32): i64 {
  const value = App.session(payload(len).text());
  return value == null ? reply("nothing") : replyJson(value);
}

export function measure(len: i32): i64 {
  count("calls");
  count("bytes", len);
  observe("sizes", len as f64 / 1000.0);
  return noAnswer;
}

export function misname(len: i32): i64 {
  count("x".repeat(65));
  return noAnswer;
}
