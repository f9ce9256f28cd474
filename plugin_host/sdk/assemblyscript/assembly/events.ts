// Events to the app: capability `emit`. docs/abi.md, "Events".

import { Json } from "./json";
import { Writer } from "./writer";

@external("plugin_host", "emit")
declare function hostEmit(name: usize, nameLength: i32, data: usize, length: i32): i32;

const sent = changetype<Writer>(memory.data(offsetof<Writer>(), 8));

function begin(name: string): i32 {
  sent.clear();
  sent.text(name);
  return sent.length;
}

function send(name: i32): bool {
  return hostEmit(sent.pointer, name, sent.pointer + name, sent.length - name) == 0;
}

/**
 * Tells the app of something, once this hook has ended well; false if that is too much for one call.
 *
 * @param name an identifier of at most 64 characters; another one traps.
 */
export function emit(name: string, data: string = ""): bool {
  const length = begin(name);
  sent.text(data);
  return send(length);
}

/** The same with bytes. */
export function emitBytes(name: string, data: Uint8Array): bool {
  const length = begin(name);
  sent.copy(data.dataStart, data.length);
  return send(length);
}

/** The same with JSON. */
export function emitJson(name: string, value: Json): bool {
  const length = begin(name);
  value.write(sent);
  return send(length);
}
