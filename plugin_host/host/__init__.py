"""Floor 3: plugins, the registry, dispatch and reloading, without Flask or wasmtime."""
