// Everything a plugin may use. docs/writing-plugins.md explains each name; tests hold the two together.

export { ph_abi_version, ph_alloc } from "./exchange";
export { ph_init, config, configString, configInt, configNumber, configBool } from "./config";
export { Request } from "./request";
export { Response } from "./response";
export { View } from "./view";
export { Json } from "./json";
export { unchanged, noAnswer, payload, payloadJson, reply, replyBytes, replyJson, fail } from "./hook";
export { log, unixNanos, unixMillis, monotonicNanos, random, randomBytes } from "./host";
export { siphash, keyedHash, share } from "./hash";
export { parseTime, NO_TIME } from "./time";
export { State, StatePage, Admission, FOREVER } from "./state";
export { StateCode } from "./statecode";
export { emit, emitBytes, emitJson } from "./events";
export { App, AskCode } from "./app";
export { HttpRequest, HttpResponse, HttpCode } from "./http";
export { count, observe } from "./metrics";
export { formValue, formText } from "./form";
