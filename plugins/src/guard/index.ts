// What every response should have: security headers; and what no JSON should have: card numbers.

import { config, configBool, Response } from "@flask-plugin-host/sdk";
import { redact } from "./cards";

export { ph_abi_version, ph_alloc, ph_init } from "@flask-plugin-host/sdk";

export function on_response(len: i32): i64 {
  const response = Response.read(len);
  const headers = config("headers");
  for (let i = 0; i < headers.length; i++) {
    response.setHeader(headers.keyAt(i), headers.at(i).asString());
  }
  if (configBool("redact", true) && response.isJson && !response.has("content-encoding")) {
    const body = redact(response.body, configBool("numbers", true));
    if (body != null) response.setBodyBytes(body);
  }
  return response.done();
}
