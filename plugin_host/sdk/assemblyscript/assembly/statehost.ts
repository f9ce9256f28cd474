// The host functions of state. The module imports those that the plugin uses.

@external("plugin_host", "state_open")
export declare function hostOpen(name: usize, nameLength: i32): i32;

@external("plugin_host", "state_get")
export declare function hostGet(ns: i32, key: usize, keyLength: i32, out: usize, room: i32): i64;

@external("plugin_host", "state_put")
export declare function hostPut(ns: i32, key: usize, keyLength: i32, value: usize, length: i32, ttl: i64): i32;

@external("plugin_host", "state_delete")
export declare function hostDelete(ns: i32, key: usize, keyLength: i32): i32;

@external("plugin_host", "state_swap")
export declare function hostSwap(
  ns: i32,
  key: usize,
  keyLength: i32,
  expected: usize,
  expectedLength: u32,
  value: usize,
  length: u32,
  ttl: i64,
  out: usize,
  room: i32,
): i64;

@external("plugin_host", "state_add")
export declare function hostAdd(
  ns: i32,
  key: usize,
  keyLength: i32,
  delta: i64,
  floor: i64,
  ceiling: i64,
  ttl: i64,
  out: usize,
): i32;

@external("plugin_host", "state_add_f64")
export declare function hostAddNumber(
  ns: i32,
  key: usize,
  keyLength: i32,
  delta: i64,
  floor: i64,
  ceiling: i64,
  ttl: i64,
  out: usize,
): i32;

@external("plugin_host", "state_admit")
export declare function hostAdmit(
  ns: i32,
  key: usize,
  keyLength: i32,
  prefixLength: i32,
  limit: i64,
  value: usize,
  length: i32,
  ttl: i64,
  out: usize,
  room: i32,
): i64;

@external("plugin_host", "state_count")
export declare function hostCount(ns: i32, prefix: usize, prefixLength: i32): i64;

@external("plugin_host", "state_list")
export declare function hostList(
  ns: i32,
  prefix: usize,
  prefixLength: i32,
  cursor: usize,
  cursorLength: i32,
  limit: i32,
  out: usize,
  room: i32,
): i64;

@external("plugin_host", "state_get_many")
export declare function hostGetMany(ns: i32, keys: usize, length: i32, out: usize, room: i32): i64;

@external("plugin_host", "state_put_many")
export declare function hostPutMany(ns: i32, items: usize, length: i32, ttl: i64): i32;

@external("plugin_host", "state_delete_many")
export declare function hostDeleteMany(ns: i32, keys: usize, length: i32): i32;
