// Who may buy in the flash sale: nobody before it starts, then a share of the users, always the same ones, and of these
// exactly `max_buyers`, however many workers and machines there are. Who is in stays in.

import {
  Admission, configInt, configNumber, configString, fail, keyedHash, NO_TIME, parseTime, ph_init as readConfig, Request,
  share, State, unixMillis,
} from "@flask-plugin-host/sdk"; // prettier-ignore
import { refuse } from "../shared/refusal";

export { ph_abi_version, ph_alloc } from "@flask-plugin-host/sdk";

/** Names are keys: what is longer than any name of the shop cannot be one. */
const MAX_NAME: i32 = 100;

let startTime: i64 = 0;
let blockRatio: f64 = 0;
let secret: string = "";
let maxBuyers: i64 = 0;
let prefix: string = "";

export function ph_init(len: i32): i64 {
  const failure = readConfig(len);
  if (failure != 0) return failure;
  startTime = parseTime(configString("start_time"));
  blockRatio = configNumber("block_ratio");
  secret = configString("secret");
  maxBuyers = configInt("max_buyers", -1);
  prefix = configString("sale") + "/";
  if (startTime == NO_TIME) return fail('config.start_time must be a time with a zone, such as "2026-03-01T18:00:00Z"');
  if (!(blockRatio >= 0 && blockRatio <= 1)) return fail("config.block_ratio must be a number from 0 to 1");
  if (secret.length < 8) return fail("config.secret must be a text of at least 8 characters");
  if (maxBuyers < 0) return fail("config.max_buyers must be a number from 0 on");
  if (prefix.length < 2 || prefix.length > 65 || prefix.indexOf("/") != prefix.length - 1) {
    return fail("config.sale must be a text of 1 to 64 characters without a slash");
  }
  return 0;
}

export function on_request(len: i32): i64 {
  const request = Request.read(len);
  const now = unixMillis();
  const user = buyer(request);
  if (now < startTime) {
    refuse(request, 403, "Forbidden", "not_started", "not start yet.");
    return request.done();
  }
  if (user.length > MAX_NAME) {
    refuse(request, 400, "Bad Request", "name_too_long", "the name is too long.");
    return request.done();
  }
  // One question that the store answers at once: is the user in, and if not, is there room? For the unlucky there is
  // none; who is in stays in, also when the ratio is changed during the sale.
  const room = share(keyedHash(secret, user)) < blockRatio ? 0 : maxBuyers;
  const admission = State.own().admit(prefix + user, prefix, room, now.toString());
  if (admission == Admission.Failed) return fail("nobody is let in, as buyers cannot be counted: " + State.error);
  if (admission == Admission.Full) refuse(request, 409, "Conflict", "sold_out", "sold out.");
  else request.setG("flash_admitted", "1");
  return request.done();
}

/** Who asks: the user's name, or the address of one without a name. The prefix keeps the two apart. */
function buyer(request: Request): string {
  const user = request.header("x-user") || request.cookie("user");
  return user ? "user:" + user : "address:" + request.remote;
}
