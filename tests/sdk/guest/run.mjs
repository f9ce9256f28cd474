// Calls hooks of a guest as the host does, for tests: reads JSON from stdin, writes JSON to stdout.
//
// in:  {"module": path, "config": hex or null, "calls": [[hook, input as hex], ...]}
// out: {"imports": [...], "logs": [[level, text], ...], "pages": of linear memory at the end,
//       "results": [{"kind": "none" | "bytes" | "error" | "trap", "hex": ...}, ...]}

import { readFileSync } from "node:fs";

const task = JSON.parse(readFileSync(0, "utf8"));
const module = new WebAssembly.Module(readFileSync(task.module));
const logs = [];
let clock = 1_700_000_000_123_456_789n;
let guest;
let buffer = { pointer: 0, size: 0 };

const bytes = (pointer, length) => new Uint8Array(guest.exports.memory.buffer, pointer >>> 0, length >>> 0);

const host = {
  log: (level, pointer, length) => logs.push([level, new TextDecoder().decode(bytes(pointer, length))]),
  now: (which) => (which === 0 ? clock : 42n),
  random: (pointer, length) => {
    if (length > 65536) throw new Error("too many random bytes asked for");
    bytes(pointer, length).fill(0xab);
  },
};

function start() {
  guest = new WebAssembly.Instance(module, { plugin_host: host });
  buffer = { pointer: 0, size: 0 };
  if (guest.exports.ph_abi_version() !== 1) throw new Error("not ABI version 1");
  if (!guest.exports.ph_init) return;
  const ready = call("ph_init", Buffer.from(task.config ?? "7b7d", "hex"));
  if (ready.kind !== "none") throw new Error(`ph_init: ${JSON.stringify(ready)}`);
}

function call(hook, input) {
  if (buffer.pointer === 0 || input.length > buffer.size) {
    buffer = { pointer: guest.exports.ph_alloc(input.length) >>> 0, size: input.length };
    if (buffer.pointer === 0 || buffer.pointer % 8 !== 0) throw new Error(`exchange buffer at ${buffer.pointer}`);
  }
  bytes(buffer.pointer, input.length).set(input);
  const result = BigInt.asUintN(64, guest.exports[hook](input.length));
  if (result === 0n) return { kind: "none", hex: "" };
  const pointer = Number(result >> 32n);
  if (pointer === 0) throw new Error("a result at 0");
  const length = Number(result & 0x7fffffffn);
  const kind = result & 0x80000000n ? "error" : "bytes";
  return { kind, hex: Buffer.from(bytes(pointer, length)).toString("hex") };
}

const results = [];
start();
for (const [hook, input] of task.calls) {
  try {
    results.push(call(hook, Buffer.from(input, "hex")));
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError)) throw error;
    results.push({ kind: "trap", hex: Buffer.from(String(error)).toString("hex") });
    start(); // a guest that trapped is never entered again
  }
}
const imports = WebAssembly.Module.imports(module).map((one) => `${one.module}.${one.name}`);
process.stdout.write(JSON.stringify({ imports, logs, results, pages: guest.exports.memory.buffer.byteLength / 65536 }));
