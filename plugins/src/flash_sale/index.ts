// Who may buy in the flash sale: nobody before it starts, and then a share of the users, always the same ones.

import {
  configNumber, configString, fail, Json, keyedHash, NO_TIME, parseTime, ph_init as readConfig, Request, share,
  unixMillis,
} from "@flask-plugin-host/sdk"; // prettier-ignore

export { ph_abi_version, ph_alloc } from "@flask-plugin-host/sdk";

let startTime: i64 = 0;
let blockRatio: f64 = 0;
let secret: string = "";

export function ph_init(len: i32): i64 {
  const failure = readConfig(len);
  if (failure != 0) return failure;
  startTime = parseTime(configString("start_time"));
  blockRatio = configNumber("block_ratio");
  secret = configString("secret");
  if (startTime == NO_TIME) return fail('config.start_time must be a time with a zone, such as "2026-03-01T18:00:00Z"');
  if (!(blockRatio >= 0 && blockRatio <= 1)) return fail("config.block_ratio must be a number from 0 to 1");
  if (secret.length < 8) return fail("config.secret must be a text of at least 8 characters");
  return 0;
}

export function on_request(len: i32): i64 {
  const request = Request.read(len);
  if (unixMillis() < startTime) {
    refuse(request, 403, "not_started", "not start yet.");
  } else if (share(keyedHash(secret, buyer(request))) < blockRatio) {
    refuse(request, 409, "sold_out", "sold out.");
  } else {
    request.setG("flash_admitted", "1");
  }
  return request.done();
}

/** Who asks: the user's name, or the address of one without a name. The prefix keeps the two apart. */
function buyer(request: Request): string {
  const user = request.header("x-user") || request.cookie("user");
  return user ? "user:" + user : "address:" + request.remote;
}

/** Says why in the shop's own ways: problem JSON (RFC 9457) to programs, a line of text to everybody else. */
function refuse(request: Request, status: i32, code: string, message: string): void {
  if (request.pathView.startsWith("/api/")) {
    const problem = Json.object()
      .setString("type", "about:blank")
      .setString("title", status == 403 ? "Forbidden" : "Conflict")
      .setInt("status", status)
      .setString("detail", message)
      .setString("code", code);
    request.answerJson(status, problem);
    request.setHeader("content-type", "application/problem+json");
  } else {
    request.answer(status, message + "\n");
  }
  request.setHeader("cache-control", "no-store");
}
