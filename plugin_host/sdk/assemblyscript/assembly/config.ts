// The plugin's config: the manifest's `[config]`, which the host passes once per instance.

import { fail, payload } from "./hook";
import { Json } from "./json";

// Lazy: a plugin that asks for no config links no JSON.
@lazy let root: Json = Json.missing;

/** Export this to have a config. */
export function ph_init(length: i32): i64 {
  if (length == 0) return 0;
  const parsed = Json.parse(payload(length));
  if (parsed == null) return fail("the config is not JSON: " + Json.error);
  root = parsed;
  return 0;
}

/** The config value called `name`; a value that does not exist if there is none. */
export function config(name: string): Json {
  return root.get(name);
}

export function configString(name: string, fallback: string = ""): string {
  return config(name).asString(fallback);
}

export function configInt(name: string, fallback: i64 = 0): i64 {
  return config(name).asInt(fallback);
}

export function configNumber(name: string, fallback: f64 = 0): f64 {
  return config(name).asNumber(fallback);
}

export function configBool(name: string, fallback: bool = false): bool {
  return config(name).asBool(fallback);
}
