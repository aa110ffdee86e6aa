#!/usr/bin/env bash
# Sets up what the tests need and runs them all: unit, integration and doc tests.
# Arguments go to `cargo test`: `bash tests/run.sh --test contract`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    echo "tests/run.sh: $*" >&2
    exit 1
}

# What the tests need beside the crates that Cargo.lock names: one function for each thing.
need_rust() {
    command -v cargo >/dev/null || fail "cargo is not on the PATH: install Rust from https://rustup.rs"
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n' "$wanted" "${found%%-*}" | sort -V | head -n1)" = "$wanted" ] ||
        fail "Rust $found is too old, $wanted or newer is needed: run \`rustup update stable\`"
}

need_rust
cargo test --locked --no-fail-fast "$@" || fail "cargo test failed, see above"
