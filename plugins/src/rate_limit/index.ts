// At most `limit` requests of a client in any `seconds`, however many workers and machines there are. Each request is a
// key that lives for so long, put only if there are fewer than `limit`: the window slides, and nothing is estimated.

import {
  Admission, configInt, configNumber, configString, fail, keyedHash, ph_init as readConfig, random, Request, State,
  unixNanos,
} from "@flask-plugin-host/sdk"; // prettier-ignore
import { refuse } from "../shared/refusal";

export { ph_abi_version, ph_alloc } from "@flask-plugin-host/sdk";

let limit: i64 = 0;
let window: i64 = 0;
/** The header or the cookie that names a client, or neither. */
let header: string = "";
let cookie: string = "";

export function ph_init(len: i32): i64 {
  const failure = readConfig(len);
  if (failure != 0) return failure;
  limit = configInt("limit");
  window = (configNumber("seconds") * 1000) as i64;
  const key = configString("key", "remote");
  header = key.startsWith("header:") ? key.substring("header:".length) : "";
  cookie = key.startsWith("cookie:") ? key.substring("cookie:".length) : "";
  if (limit < 1) return fail("config.limit must be a number from 1 on");
  if (window < 1) return fail("config.seconds must be a number above 0");
  if (key != "remote" && !header && !cookie) return fail('config.key must be "remote", "header:NAME" or "cookie:NAME"');
  return 0;
}

export function on_request(len: i32): i64 {
  const request = Request.read(len);
  const prefix = client(request) + "/";
  // In the order of time, so that the oldest is listed first; the rest makes it the only one of its nanosecond.
  const key = prefix + unixNanos().toString() + "-" + ((random() * 1e9) as i64).toString();
  const admission = State.own().admit(key, prefix, limit, "", window);
  if (admission == Admission.Failed) return fail("requests cannot be counted: " + State.error);
  if (admission == Admission.Full) refuseFor(request, untilFree(prefix));
  return request.done();
}

/** Who asks. What may be a secret is not written down: its hash is. */
function client(request: Request): string {
  let said: string | null = null;
  if (header.length > 0) said = request.header(header);
  else if (cookie.length > 0) said = request.cookie(cookie);
  if (said == null || said.length == 0) return "address:" + request.remote;
  return "client:" + keyedHash("rate_limit", said).toString(16);
}

/** Milliseconds until the oldest request of the window leaves it. */
function untilFree(prefix: string): i64 {
  const page = State.own().list(prefix, null, 1);
  return page == null || page.ttls.length == 0 ? 1 : page.ttls[0];
}

/** Says how long to wait: in `Retry-After` (RFC 9110), and as draft-ietf-httpapi-ratelimit-headers has it. */
function refuseFor(request: Request, millis: i64): void {
  const wait = inSeconds(millis);
  refuse(request, 429, "Too Many Requests", "rate_limited", "too many requests, try again in " + wait + " s.");
  request.setHeader("retry-after", wait);
  request.setHeader("ratelimit-policy", '"default";q=' + limit.toString() + ";w=" + inSeconds(window));
  request.setHeader("ratelimit", '"default";r=0;t=' + wait);
}

/** Whole seconds, rounded up. */
function inSeconds(millis: i64): string {
  return ((millis + 999) / 1000).toString();
}
