/** What `parseTime` returns for a text that is no time. */
export const NO_TIME: i64 = i64.MIN_VALUE;

let source: string = "";
let at: i32 = 0;

/**
 * Milliseconds since 1970 of a time like `2026-03-01T18:00:00Z`: seconds and their fraction may be left out, an offset
 * like `+02:00` may stand for `Z`, a space for `T`. `NO_TIME` for anything else, a time without a zone included.
 */
export function parseTime(text: string): i64 {
  source = text;
  at = 0;
  const year = digits(4);
  const month = skip(0x2d) ? digits(2) : -1;
  const day = skip(0x2d) ? digits(2) : -1;
  if (!skip(0x54) && !skip(0x74) && !skip(0x20)) return NO_TIME;
  const hour = digits(2);
  const minute = skip(0x3a) ? digits(2) : -1;
  const second = skip(0x3a) ? digits(2) : 0;
  const milli = skip(0x2e) ? fraction() : 0;
  const offset = zone();
  const valid =
    year >= 0 && month >= 1 && month <= 12 && day >= 1 && day <= daysIn(year, month) &&
    hour >= 0 && hour < 24 && minute >= 0 && minute < 60 && second >= 0 && second < 60 && milli >= 0 &&
    offset != i32.MIN_VALUE && at == text.length; // prettier-ignore
  if (!valid) return NO_TIME;
  return ((daysSince1970(year, month, day) * 24 + hour) * 60 + minute - offset) * 60000 + second * 1000 + milli;
}

function skip(unit: i32): bool {
  if (at >= source.length || source.charCodeAt(at) != unit) return false;
  at++;
  return true;
}

/** The number of exactly `count` digits, or -1. */
function digits(count: i32): i32 {
  let value = 0;
  for (let i = 0; i < count; i++) {
    const digit = at < source.length ? source.charCodeAt(at) - 0x30 : -1;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
    at++;
  }
  return value;
}

/** Milliseconds from one to nine digits, or -1. */
function fraction(): i32 {
  let value = 0;
  let count = 0;
  for (; count < 9; count++) {
    const digit = digits(1);
    if (digit < 0) break;
    if (count < 3) value = value * 10 + digit;
  }
  for (let i = count; i < 3; i++) value *= 10;
  return count == 0 ? -1 : value;
}

/** The zone's offset in minutes, or the smallest i32. */
function zone(): i32 {
  if (skip(0x5a) || skip(0x7a)) return 0;
  const sign = skip(0x2b) ? 1 : skip(0x2d) ? -1 : 0;
  const hours = digits(2);
  const minutes = skip(0x3a) ? digits(2) : -1;
  if (sign == 0 || hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return i32.MIN_VALUE;
  return sign * (hours * 60 + minutes);
}

function daysIn(year: i32, month: i32): i32 {
  if (month != 2) return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
  return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28;
}

/** Days of the proleptic Gregorian calendar, counted in years that begin in March. */
function daysSince1970(year: i32, month: i32, day: i32): i64 {
  const y = month > 2 ? year : year - 1;
  const m = month > 2 ? month - 3 : month + 9;
  return (365 * y + floorDiv(y, 4) - floorDiv(y, 100) + floorDiv(y, 400) + (153 * m + 2) / 5 + day - 719469) as i64;
}

function floorDiv(a: i32, b: i32): i32 {
  return a >= 0 ? a / b : -((b - 1 - a) / b);
}
