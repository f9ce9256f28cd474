// Why operations on the store fail.

/** Why an operation failed; `Ok` if it did not. */
export enum StateCode {
  Ok = 0,
  Unavailable = -2,
  QuotaKeys = -3,
  QuotaBytes = -4,
  KeySize = -5,
  ValueSize = -6,
  NotANumber = -7,
  Overflow = -8,
  Key = -9,
  Prefix = -10,
  Ttl = -11,
  Number = -12,
  Limit = -13,
  Cursor = -14,
  Batch = -15,
  Namespace = -16,
}

/** Why, in words. */
export function describe(code: i32): string {
  switch (code) {
    case StateCode.Ok: return "";
    case StateCode.Unavailable: return "the store is away or too slow";
    case StateCode.QuotaKeys: return "the namespace has as many keys as it may";
    case StateCode.QuotaBytes: return "the namespace would hold more bytes than it may";
    case StateCode.KeySize: return "the key or prefix is too long";
    case StateCode.ValueSize: return "the value is too long";
    case StateCode.NotANumber: return "what is there is no number of that kind";
    case StateCode.Overflow: return "the sum is too large for its kind";
    case StateCode.Key: return "the key is empty";
    case StateCode.Prefix: return "the key does not begin with the prefix";
    case StateCode.Ttl: return "the time to live is not above 0, or above a hundred years";
    case StateCode.Number: return "the number is not finite, or the floor is above the ceiling";
    case StateCode.Limit: return "the limit is out of range";
    case StateCode.Cursor: return "the cursor is not one of this list";
    case StateCode.Batch: return "more than 1000 keys at once";
    case StateCode.Namespace: return "the shared namespace is not granted";
    default: return "error " + code.toString();
  }
}
