#!/usr/bin/env bash
# Sets up what the tests need and runs them all: unit, integration and doc tests of every crate here.
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

# The tests start servers of their own: what is needed is the program, not a server that runs.
need_redis() {
    command -v redis-server >/dev/null || install_redis
    command -v redis-server >/dev/null ||
        fail "redis-server could not be installed: install Redis 7.0 or newer so that redis-server is on the PATH"
    local found
    found=$(redis-server --version | sed -n 's/.* v=\([0-9.]*\).*/\1/p')
    [ "$(printf '%s\n' 7.0 "$found" | sort -V | head -n1)" = 7.0 ] ||
        fail "redis-server $found is too old, 7.0 or newer is needed"
}

# Says what it does, because it changes the machine.
install_redis() {
    local sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    echo "tests/run.sh: redis-server is missing and is installed now" >&2
    if command -v apt-get >/dev/null && { [ -z "$sudo" ] || command -v sudo >/dev/null; }; then
        $sudo apt-get update -q && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy redis-server
    elif command -v brew >/dev/null; then
        brew install redis
    fi || fail "redis-server could not be installed, see above"
}

need_rust
need_redis
cargo test --locked --workspace --all-features --no-fail-fast "$@" || fail "cargo test failed, see above"
