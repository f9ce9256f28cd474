// So many pieces of one article, so many per cent off: the best tier of `config.tiers` that a line reaches.

import { config, configBool, fail, Json, noAnswer, payloadJson, replyJson } from "@flask-plugin-host/sdk";
import { discount, isLine, isQuote, notAQuote } from "./quote";

export { ph_abi_version, ph_alloc, ph_init } from "@flask-plugin-host/sdk";

/** Per cents are counted in hundredths, so that 12.5 % is exact. */
const WHOLE: i64 = 10_000;

export function price_quote(len: i32): i64 {
  const quote = payloadJson(len);
  if (quote == null) return fail("the payload is not JSON: " + Json.error);
  if (!isQuote(quote)) return notAQuote();
  if (quote.get("flash").asBool() && !configBool("flash")) return noAnswer;

  let changed = false;
  const items = quote.get("items");
  for (let i = 0; i < items.length; i++) {
    const line = items.at(i);
    if (!isLine(line)) return notAQuote();
    if (reduce(quote, line)) changed = true;
  }
  return changed ? replyJson(quote) : noAnswer;
}

function reduce(quote: Json, line: Json): bool {
  const quantity = line.get("quantity").asInt();
  const share = bestShare(quantity);
  const price = line.get("unit_price").asInt() * quantity;
  // Whole cents per hundredth first: price * share would overflow for the largest prices.
  const amount = (price / WHOLE) * share + ((price % WHOLE) * share + WHOLE / 2) / WHOLE;
  const name = line.get("name").asString("?");
  return discount(quote, percent(share) + " off " + quantity.toString() + " × " + name, amount);
}

/** The highest reduction for this quantity, in hundredths of a per cent. */
function bestShare(quantity: i64): i64 {
  const tiers = config("tiers");
  let best: i64 = 0;
  for (let i = 0; i < tiers.length; i++) {
    const tier = tiers.at(i);
    const least = tier.get("min_quantity").asInt(i64.MAX_VALUE);
    const share = nearest(tier.get("percent").asNumber() * 100) as i64;
    if (least <= quantity) best = max(best, share);
  }
  return min(best, WHOLE);
}

/** `1250` as `12.5 %`. */
function percent(share: i64): string {
  const hundredths = share % 100;
  let text = (share / 100).toString();
  if (hundredths != 0) {
    text += "." + (hundredths < 10 ? "0" : "") + (hundredths % 10 == 0 ? hundredths / 10 : hundredths).toString();
  }
  return text + " %";
}
