// Holds pieces for visitors who have them in the cart: of every article, never more than there are. All holds of an
// article are one value of the store, which is replaced only if nobody has replaced it meanwhile: a visitor gets all
// pieces or none, and what has expired is free for the next who asks.

import {
  configNumber, fail, Json, payloadJson, ph_init as readConfig, replyJson, State, unixMillis,
} from "@flask-plugin-host/sdk"; // prettier-ignore
import { Holds } from "./holds";

export { ph_abi_version, ph_alloc } from "@flask-plugin-host/sdk";

/** So often a hold is tried; whoever was quicker each time, got something. */
const ATTEMPTS: i32 = 1000;

let lifetime: i64 = 0;

export function ph_init(len: i32): i64 {
  const failure = readConfig(len);
  if (failure != 0) return failure;
  lifetime = (configNumber("minutes") * 60_000) as i64;
  return lifetime > 0 ? 0 : fail("config.minutes must be a number above 0");
}

/** Of `{sku, holder, quantity, stock}`: holds so many in place of what was held; answers `{quantity, before, free}`. */
export function stock_hold(len: i32): i64 {
  const wish = payloadJson(len);
  if (wish == null) return fail("the payload is not JSON: " + Json.error);
  const sku = wish.get("sku").asString();
  const quantity = wish.get("quantity").asInt(-1);
  if (!sku || quantity < 0 || !wish.get("stock").isInt) {
    return fail("the payload is no hold: expected sku, holder, and the integers quantity and stock");
  }
  const store = State.own();
  let before = store.get(keyOf(sku));
  for (let attempt = 0; attempt < ATTEMPTS && !State.failed; attempt++) {
    const holds = new Holds(wish.get("holder").asString()).read(before);
    const free = max<i64>(wish.get("stock").asInt() - holds.others, 0);
    const was = holds.mine;
    // What is held is promised, whatever the stock is now; if it is to be more than there is, it stays as it is.
    if (quantity <= max(free, was)) holds.keep(quantity, unixMillis() + lifetime);
    else holds.keep(was, holds.until);

    if (store.compareAndSet(keyOf(sku), before, holds.isEmpty ? null : holds.toString(), lifetime)) {
      return replyJson(Json.object().setInt("quantity", holds.mine).setInt("before", was).setInt("free", free));
    }
    before = State.current;
  }
  return fail("the hold could not be written: " + (State.failed ? State.error : "others did so all the time"));
}

/** Of `{skus, holder}`: answers how many pieces others hold, by article. */
export function stock_held(len: i32): i64 {
  const query = payloadJson(len);
  if (query == null) return fail("the payload is not JSON: " + Json.error);
  const skus = query.get("skus");
  const keys: string[] = [];
  for (let i = 0; i < skus.length; i++) keys.push(keyOf(skus.at(i).asString()));
  const stored = State.own().getMany(keys);
  if (State.failed) return fail("the holds could not be read: " + State.error);

  const answer = Json.object();
  for (let i = 0; i < stored.length; i++) {
    const others = new Holds(query.get("holder").asString()).read(stored[i]).others;
    if (others > 0) answer.setInt(skus.at(i).asString(), others);
  }
  return replyJson(answer);
}

function keyOf(sku: string): string {
  return "sku/" + sku;
}
