#!/bin/sh
# Rebuilds the guests beside their sources. Needs clang and wasm-ld, nothing else.
set -eu
cd "$(dirname "$0")"
for name in native extism plain lookup; do
  ${CC:-clang} --target=wasm32-unknown-unknown -O2 -mbulk-memory -nostdlib -Wall -fno-builtin \
    -Wl,--no-entry -Wl,--strip-all -Wl,-z,stack-size=16384 -o "$name.wasm" "$name.c"
done
${CC:-clang} --target=wasm32-unknown-unknown -O2 -mbulk-memory -nostdlib -Wall -fno-builtin \
  -Wl,--no-entry -Wl,--strip-all -Wl,-z,stack-size=1048576 -o written.wasm written.c
