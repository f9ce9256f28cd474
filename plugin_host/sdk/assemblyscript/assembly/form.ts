// Names and values joined by separators: query strings, form bodies, the view's arguments, cookies.

import { decode } from "./utf8";
import { View } from "./view";

/** The first value of `name` in an `application/x-www-form-urlencoded` text, decoded; null without one. */
export function formValue(form: View, name: string): string | null {
  let at = 0;
  while (at < form.length) {
    const end = find(form, 0x26, at, form.length); // &
    const equals = find(form, 0x3d, at, end); // =
    if (formText(form.slice(at, equals)) == name) return formText(form.slice(equals + 1, end));
    at = end + 1;
  }
  return null;
}

/** Undoes percent-encoding and `+`; what is no `%xx` stays as it is. */
export function formText(encoded: View): string {
  const buffer = heap.alloc(encoded.length);
  let out = buffer;
  for (let i = 0; i < encoded.length; i++) {
    let byte = encoded.at(i);
    if (byte == 0x2b) {
      byte = 0x20;
    } else if (byte == 0x25 && i + 2 < encoded.length) {
      const high = hexDigit(encoded.at(i + 1));
      const low = hexDigit(encoded.at(i + 2));
      if ((high | low) >= 0) {
        byte = ((high << 4) | low) as u8;
        i += 2;
      }
    }
    store<u8>(out++, byte);
  }
  const text = decode(buffer, (out - buffer) as i32);
  heap.free(buffer);
  return text;
}

/** The first cookie called `name` in a raw `Cookie` header, without its quotes; null without one. */
export function cookieValue(cookies: View, name: string): string | null {
  let at = 0;
  while (at < cookies.length) {
    const end = find(cookies, 0x3b, at, cookies.length); // ;
    while (cookies.at(at) == 0x20 || cookies.at(at) == 0x09) at++;
    const equals = find(cookies, 0x3d, at, end); // =
    if (equals < end && cookies.slice(at, equals).equals(name)) return unquoted(cookies.slice(equals + 1, end)).text();
    at = end + 1;
  }
  return null;
}

function unquoted(value: View): View {
  const last = value.length - 1;
  return last > 0 && value.at(0) == 0x22 && value.at(last) == 0x22 ? value.slice(1, last) : value;
}

/** Where `byte` first occurs in `view` from `start` to before `end`; `end` if nowhere. */
function find(view: View, byte: u8, start: i32, end: i32): i32 {
  while (start < end && view.at(start) != byte) start++;
  return min(start, end);
}

/** The value of a hexadecimal digit, or -1. */
export function hexDigit(byte: u8): i32 {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}
