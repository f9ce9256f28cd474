// The holds of one article: `[{"holder": …, "quantity": …, "until": milliseconds since 1970}, …]`.

import { Json, unixMillis } from "@flask-plugin-host/sdk";

/** Holds that have not expired, seen by one holder. */
export class Holds {
  /** How many pieces are held for the holder, and until when; how many for all others. */
  mine: i64 = 0;
  until: i64 = 0;
  others: i64 = 0;
  /** When the last of all holds expires. */
  latest: i64 = 0;

  private list: Json = Json.array();

  constructor(private holder: string) {}

  /** Reads what is stored; what is none is no hold. */
  read(stored: string | null): Holds {
    const list = Json.parseText(stored == null ? "[]" : stored);
    if (list == null) return this;
    const now = unixMillis();
    for (let i = 0; i < list.length; i++) {
      if (list.at(i).get("until").asInt() > now) this.add(list.at(i));
    }
    return this;
  }

  private add(one: Json): void {
    const until = one.get("until").asInt();
    const quantity = max<i64>(one.get("quantity").asInt(), 0);
    if (one.get("holder").asString() == this.holder) {
      this.mine = quantity;
      this.until = until;
      return;
    }
    this.others += quantity;
    this.latest = max(this.latest, until);
    this.list.push(one);
  }

  /** Holds so many for the holder, in place of what was held. */
  keep(quantity: i64, until: i64): void {
    this.mine = quantity;
    if (quantity <= 0) return;
    this.latest = max(this.latest, until);
    this.list.push(
      Json.object().setString("holder", this.holder).setInt("quantity", quantity).setInt("until", until),
    );
  }

  get isEmpty(): bool {
    return this.list.length == 0;
  }

  /** What is to be stored; once, after `keep`. */
  toString(): string {
    return this.list.toString();
  }
}
