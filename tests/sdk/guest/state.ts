// What tests/sdk/test_state.py calls: each hook takes {"shared"?, "key"?, …} as JSON and answers what came of it.
import { Admission, FOREVER, Json, payloadJson, replyJson, Request, State, StatePage } from "@flask-plugin-host/sdk";

export { ph_abi_version, ph_alloc } from "@flask-plugin-host/sdk";

let asked: Json = Json.missing;
const till = State.shared("till"); // opened by its first operation, not here

function begin(len: i32): State {
  asked = payloadJson(len)!;
  const shared = asked.get("shared").asString();
  return shared == "" ? State.own() : shared == "till" ? till : State.shared(shared);
}

function text(name: string): string {
  return asked.get(name).asString();
}

function optional(name: string): string | null {
  const value = asked.get(name);
  return value.isString ? value.asString() : null;
}

function ttl(): i64 {
  return asked.get("ttl").asInt(FOREVER);
}

function strings(name: string): string[] {
  const values: string[] = [];
  const items = asked.get(name);
  for (let i = 0; i < items.length; i++) values.push(items.at(i).asString());
  return values;
}

function jsonOf(value: string | null): Json {
  return value == null ? Json.null() : Json.string(value);
}

/** What came of it, and how the operation ended. */
function ended(value: Json): i64 {
  const all = Json.array().push(value).push(Json.int(State.code));
  if (State.failed) all.push(Json.string(State.error));
  return replyJson(all);
}

export function get(len: i32): i64 {
  return ended(jsonOf(begin(len).get(text("key"))));
}

export function get_all(len: i32): i64 {
  const state = begin(len);
  const key = text("key");
  const bytes = state.getBytes(key);
  const json = state.getJson(key);
  return ended(
    Json.array()
      .push(bytes == null ? Json.null() : Json.int(bytes.length))
      .push(Json.int(state.getInt(key, -1)))
      .push(Json.number(state.getNumber(key, -1)))
      .push(json == null ? Json.null() : json),
  );
}

export function put(len: i32): i64 {
  return ended(Json.bool(begin(len).put(text("key"), text("value"), ttl())));
}

export function put_bytes(len: i32): i64 {
  const state = begin(len);
  const bytes = new Uint8Array(asked.get("size").asInt() as i32);
  return ended(Json.bool(state.putBytes(text("key"), bytes, ttl())));
}

export function put_json(len: i32): i64 {
  return ended(Json.bool(begin(len).putJson(text("key"), asked.get("value"), ttl())));
}

export function remove(len: i32): i64 {
  return ended(Json.bool(begin(len).delete(text("key"))));
}

function conditional(done: bool): i64 {
  return ended(Json.array().push(Json.bool(done)).push(jsonOf(State.current)));
}

export function put_if_absent(len: i32): i64 {
  return conditional(begin(len).putIfAbsent(text("key"), text("value"), ttl()));
}

export function compare_and_set(len: i32): i64 {
  return conditional(begin(len).compareAndSet(text("key"), optional("expected"), optional("value"), ttl()));
}

export function admit(len: i32): i64 {
  const state = begin(len);
  const outcome = state.admit(text("key"), text("prefix"), asked.get("limit").asInt(), text("value"), ttl());
  const words = ["failed", "added", "present", "full"];
  return ended(Json.array().push(Json.string(words[outcome])).push(jsonOf(State.current)));
}

export function add(len: i32): i64 {
  const state = begin(len);
  const floor = asked.get("floor").asInt(i64.MIN_VALUE);
  const ceiling = asked.get("ceiling").asInt(i64.MAX_VALUE);
  const sum = state.add(text("key"), asked.get("delta").asInt(1), ttl(), floor, ceiling);
  return ended(Json.array().push(Json.int(sum)).push(Json.bool(State.done)));
}

export function add_number(len: i32): i64 {
  const state = begin(len);
  const ceiling = asked.get("ceiling").asNumber(Infinity);
  const sum = state.addNumber(text("key"), asked.get("delta").asNumber(), ttl(), -Infinity, ceiling);
  return ended(Json.array().push(Json.number(sum)).push(Json.bool(State.done)));
}

export function count(len: i32): i64 {
  return ended(Json.int(begin(len).count(text("prefix"))));
}

/** All pages, or as many as asked for, as [key, size, ttl]. */
export function list(len: i32): i64 {
  const state = begin(len);
  const all = Json.array();
  const limit = asked.get("limit").asInt(100) as i32;
  const wanted = asked.get("pages").asInt(-1);
  let pages = 0;
  let page: StatePage | null = state.list(text("prefix"), null, limit);
  while (page != null) {
    for (let i = 0; i < page.keys.length; i++) {
      const left = page.ttls[i] == FOREVER ? Json.null() : Json.int(page.ttls[i]);
      all.push(Json.array().push(Json.string(page.keys[i])).push(Json.int(page.sizes[i])).push(left));
    }
    if (page.cursor.length == 0 || ++pages == wanted) return ended(all);
    page = state.list(text("prefix"), page.cursor, limit);
  }
  return ended(Json.null());
}

export function get_many(len: i32): i64 {
  const values = begin(len).getMany(strings("keys"));
  const all = Json.array();
  for (let i = 0; i < values.length; i++) all.push(jsonOf(values[i]));
  return ended(all);
}

export function put_many(len: i32): i64 {
  const state = begin(len);
  return ended(Json.bool(state.putMany(strings("keys"), strings("values"), ttl())));
}

export function delete_many(len: i32): i64 {
  return ended(Json.int(begin(len).deleteMany(strings("keys"))));
}

/** Puts what was read beforehand for the header x-key into the answer. */
export function on_request(len: i32): i64 {
  const request = Request.read(len);
  const key = request.header("x-key");
  if (key == null) return 0;
  const value = State.own().prefetched(request, key);
  const known = request.has(":state");
  request.answerJson(200, Json.array().push(jsonOf(value)).push(Json.bool(known)).push(Json.int(State.code)));
  return request.done();
}
