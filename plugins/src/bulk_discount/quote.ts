// The payload of the shop's `price_quote` hook. Money is in integer cents.

import { fail, Json } from "@flask-plugin-host/sdk";

const MAX_LABEL: i32 = 120;

/** Whether the payload has the parts of a quote that a pricing rule needs. */
export function isQuote(quote: Json): bool {
  return quote.get("items").isArray && quote.get("discounts").isArray && quote.get("total").isInt;
}

export function notAQuote(): i64 {
  return fail("the payload is no quote: expected items, discounts, and an integer total in cents");
}

/** Whether a line has the parts that a price is made of; absurd ones could overflow. */
export function isLine(line: Json): bool {
  const price = line.get("unit_price");
  const quantity = line.get("quantity");
  return (
    price.isInt && price.asInt() >= 0 && price.asInt() <= 1_000_000_000_000 &&
    quantity.isInt && quantity.asInt() >= 1 && quantity.asInt() <= 100_000
  ); // prettier-ignore
}

/** Takes `amount` off the total, but no more than there is; false if that is nothing. */
export function discount(quote: Json, label: string, amount: i64): bool {
  const total = quote.get("total").asInt();
  const taken = min(amount, total);
  if (taken <= 0) return false;
  quote.get("discounts").push(Json.object().setString("label", shortened(label)).setInt("amount", taken));
  quote.setInt("total", total - taken);
  return true;
}

/** The label, cut to what the shop accepts; the end may be half a surrogate pair, which is dropped. */
function shortened(label: string): string {
  if (label.length <= MAX_LABEL) return label;
  const end = MAX_LABEL - 1;
  const half = (label.charCodeAt(end - 1) & 0xfc00) == 0xd800;
  return label.substring(0, half ? end - 1 : end) + "…";
}
