// The same plugin with another rule, to be copied over the first while the shop is open: every third piece is free.

import { fail, Json, noAnswer, payloadJson, replyJson } from "@flask-plugin-host/sdk";
import { discount, isLine, isQuote, notAQuote } from "./quote";

export { ph_abi_version, ph_alloc } from "@flask-plugin-host/sdk";

export function price_quote(len: i32): i64 {
  const quote = payloadJson(len);
  if (quote == null) return fail("the payload is not JSON: " + Json.error);
  if (!isQuote(quote)) return notAQuote();
  if (quote.get("flash").asBool()) return noAnswer;

  let changed = false;
  const items = quote.get("items");
  for (let i = 0; i < items.length; i++) {
    const line = items.at(i);
    if (!isLine(line)) return notAQuote();
    const free = line.get("quantity").asInt() / 3;
    const label = "3 for 2: " + line.get("name").asString("?");
    if (discount(quote, label, free * line.get("unit_price").asInt())) changed = true;
  }
  return changed ? replyJson(quote) : noAnswer;
}
