// What a business hook receives and returns, and what any hook returns when it failed.

import { exchange } from "./exchange";
import { Json } from "./json";
import { View } from "./view";
import { output } from "./writer";

/** An HTTP hook returns this when it changes nothing. */
export const unchanged: i64 = 0;

/** A business hook returns this when it has nothing to say. */
export const noAnswer: i64 = 0;

/** The payload of this call, in place. */
export function payload(length: i32): View {
  return new View(exchange(), length);
}

/** The payload as JSON; null if it is not (`Json.error` says why). */
export function payloadJson(length: i32): Json | null {
  return Json.parse(payload(length));
}

/** Answers with text. */
export function reply(text: string): i64 {
  output.clear();
  output.text(text);
  return output.result();
}

/** Answers with bytes. */
export function replyBytes(bytes: Uint8Array): i64 {
  output.clear();
  output.copy(bytes.dataStart, bytes.length);
  return output.result();
}

/** Answers with JSON. */
export function replyJson(value: Json): i64 {
  output.clear();
  value.write(output);
  return output.result();
}

/** Declares that the hook failed: the message goes to the operator's log, never to the client. */
export function fail(message: string): i64 {
  output.clear();
  output.text(message);
  return output.failure();
}
