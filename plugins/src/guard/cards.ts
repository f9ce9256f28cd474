// Finds card numbers in JSON without parsing it: 13 to 19 digits, single spaces or dashes between them allowed, that
// begin as payment cards do (2 to 6) and pass the Luhn check. All digits but the last four become `*`.

import { View } from "@flask-plugin-host/sdk";

const MIN_DIGITS: i32 = 13;
const MAX_DIGITS: i32 = 19;
const SHOWN: i32 = 4;

const QUOTE: u8 = 0x22;
const BACKSLASH: u8 = 0x5c;
const STAR: u8 = 0x2a;

/** Where redacted numbers stand that were not in a string: they need quotes to stay JSON. */
let bare: i32[] = [];

/** The body without card numbers; null if there are none. With `numbers`, also those that are JSON numbers. */
export function redact(body: View, numbers: bool): Uint8Array | null {
  bare = [];
  let found = false;
  let inString = false;
  for (let at = 0; at < body.length; at++) {
    const byte = body.at(at);
    if (byte == QUOTE) {
      inString = !inString;
    } else if (byte == BACKSLASH) {
      at += body.at(at + 1) == 0x75 ? 5 : 1; // the digits of \u0034 are none of a card
    } else if (isDigit(byte)) {
      const end = inString ? cardInText(body, at) : numbers ? cardAsNumber(body, at) : -1;
      if (end < 0) {
        at = endOfDigits(body, at) - 1;
        continue;
      }
      mask(body, at, end);
      if (!inString) {
        bare.push(at);
        bare.push(end);
      }
      found = true;
      at = end - 1;
    }
  }
  return found ? quoted(body) : null;
}

/** The end of the longest card number that starts at `start`, or -1. */
function cardInText(body: View, start: i32): i32 {
  if (!startsAsCard(body.at(start))) return -1;
  let best = -1;
  let digits = 0;
  for (let at = start; digits <= MAX_DIGITS; ) {
    const end = endOfDigits(body, at);
    digits += end - at;
    if (digits >= MIN_DIGITS && digits <= MAX_DIGITS && luhn(body, start, end)) best = end;
    if (!isSeparator(body.at(end)) || !isDigit(body.at(end + 1))) break;
    at = end + 1;
  }
  return best;
}

/** The end of the whole number that starts at `start`, if that is a card number, or -1. */
function cardAsNumber(body: View, start: i32): i32 {
  const end = endOfDigits(body, start);
  const whole = !isPartOfNumber(body.at(start - 1)) && !isPartOfNumber(body.at(end));
  const digits = end - start;
  const fits = whole && digits >= MIN_DIGITS && digits <= MAX_DIGITS && startsAsCard(body.at(start));
  return fits && luhn(body, start, end) ? end : -1;
}

/** The Luhn check over the digits from `start` to before `end`. */
function luhn(body: View, start: i32, end: i32): bool {
  let sum = 0;
  let double = false;
  for (let at = end - 1; at >= start; at--) {
    if (!isDigit(body.at(at))) continue;
    const digit: i32 = body.at(at) - 0x30;
    sum += !double ? digit : digit < 5 ? digit * 2 : digit * 2 - 9;
    double = !double;
  }
  return sum % 10 == 0;
}

/** Overwrites all digits but the last ones, in place: the exchange buffer is ours while the hook runs. */
function mask(body: View, start: i32, end: i32): void {
  let shown = 0;
  for (let at = end - 1; at >= start; at--) {
    if (isDigit(body.at(at)) && ++shown > SHOWN) store<u8>(body.pointer + at, STAR);
  }
}

/** A copy of the body with quotes around what is no number any more. */
function quoted(body: View): Uint8Array {
  const bytes = new Uint8Array(body.length + bare.length);
  let target = bytes.dataStart;
  let from = 0;
  for (let i = 0; i < bare.length; i++) {
    const length = bare[i] - from;
    memory.copy(target, body.pointer + from, length);
    store<u8>(target + length, QUOTE);
    target += length + 1;
    from = bare[i];
  }
  memory.copy(target, body.pointer + from, body.length - from);
  return bytes;
}

function endOfDigits(body: View, at: i32): i32 {
  while (isDigit(body.at(at))) at++;
  return at;
}

function isDigit(byte: u8): bool {
  return byte >= 0x30 && byte <= 0x39;
}

function isSeparator(byte: u8): bool {
  return byte == 0x20 || byte == 0x2d;
}

function startsAsCard(byte: u8): bool {
  return byte >= 0x32 && byte <= 0x36;
}

/** Sign, point or exponent: the digits beside it are not the whole number. */
function isPartOfNumber(byte: u8): bool {
  return byte == 0x2d || byte == 0x2b || byte == 0x2e || (byte | 0x20) == 0x65;
}
