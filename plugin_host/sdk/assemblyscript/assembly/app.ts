// Questions to the app, capability `call`, and its session, capability `session`. docs/abi.md, section 7.

import { Json } from "./json";
import { decode } from "./utf8";
import { View } from "./view";
import { Writer } from "./writer";

@external("plugin_host", "call")
declare function hostCall(name: usize, nameLength: i32, data: usize, length: i32, out: usize, room: i32): i32;

@external("plugin_host", "call_receive")
declare function hostReceive(pointer: usize, offset: i32, length: i32): void;

@external("plugin_host", "session_get")
declare function hostSession(key: usize, keyLength: i32, out: usize, room: i32): i32;

/** How the latest question ended. */
export enum AskCode {
  Ok = 0,
  /** The app does not answer it, or this plugin may not ask it. */
  Unknown = -1,
  /** What was sent does not fit the question. */
  Unfit = -2,
  /** The app failed to answer. */
  Failed = -3,
  TooLarge = -4,
  /** Questions wait for questions, too deep. */
  TooDeep = -5,
}

const sent = changetype<Writer>(memory.data(offsetof<Writer>(), 8));
const got = changetype<Writer>(memory.data(offsetof<Writer>(), 8));
const ROOM: i32 = 1024;

function begin(name: string): i32 {
  sent.clear();
  sent.text(name);
  return sent.length;
}

/** Asks with what is in `sent`, and leaves the answer in `got`. */
function ask(name: i32): bool {
  const room = ROOM;
  got.clear();
  let out = got.take(room);
  const length = hostCall(sent.pointer, name, sent.pointer + name, sent.length - name, out, room);
  App.code = min(length, 0);
  if (length < 0) return false;
  if (length > room) {
    got.clear();
    out = got.take(length);
    hostReceive(out, 0, length);
  }
  got.clear();
  got.take(length);
  return true;
}

/** What the app can be asked. */
export class App {
  /** How the latest question ended: an `AskCode`. */
  static code: i32 = 0;

  /** The app's answer as text; null if there is none, and `App.code` says why. */
  static ask(question: string, data: string = ""): string | null {
    const length = begin(question);
    sent.text(data);
    return ask(length) ? decode(got.pointer, got.length) : null;
  }

  /** The same with bytes, both ways. */
  static askBytes(question: string, data: Uint8Array): Uint8Array | null {
    const length = begin(question);
    sent.copy(data.dataStart, data.length);
    if (!ask(length)) return null;
    const answer = new Uint8Array(got.length);
    memory.copy(answer.dataStart, got.pointer, got.length);
    return answer;
  }

  /** The same with JSON, both ways; nothing sent is JSON's null. */
  static askJson(question: string, value: Json | null = null): Json | null {
    const length = begin(question);
    if (value != null) value.write(sent);
    return ask(length) ? Json.parse(new View(got.pointer, got.length)) : null;
  }

  /** What the session has under a key; null if nothing, or nothing that this plugin may read. */
  static session(key: string): Json | null {
    const name = begin(key);
    let length = ROOM;
    let room: i32;
    do {
      room = length;
      got.clear();
      length = hostSession(sent.pointer, name, got.take(room), room);
    } while (length > room);
    return length < 0 ? null : Json.parse(new View(got.pointer, length));
  }
}
