"""Floor 1: WebAssembly modules, instances and their deadlines, on wasmtime."""
