#!/usr/bin/env bash
# Runs the long versions of the tests, whose names begin with `soak_`: `bash tests/soak.sh MINUTES`, ten without an
# argument. Some count their work in rounds and not in time. Their figures go to the screen; tests/SOAK.md keeps those of
# one run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

minutes=${1:-10}
[[ $minutes =~ ^[1-9][0-9]*$ ]] || {
    echo "tests/soak.sh: MINUTES is a whole number over zero, not '$minutes'" >&2
    exit 1
}
command -v redis-server >/dev/null || {
    echo "tests/soak.sh: redis-server is not installed: apt-get install redis-server, or brew install redis" >&2
    exit 1
}

# A file of a folder is a module of the binary that is named after the folder: `redis/restart`.
files=(tests/*.rs tests/*/*.rs)
soaks=()
for file in "${files[@]}"; do
    if grep -q 'fn soak_' "$file"; then
        soak=${file#tests/}
        soaks+=("${soak%.rs}")
    fi
done
binaries=("${soaks[@]%%/*}")
export SOAK_SECONDS=$((minutes * 60 / ${#soaks[@]}))
echo "${#soaks[@]} tests of $SOAK_SECONDS seconds each: ${soaks[*]}"
cargo test --locked --release --no-run "${binaries[@]/#/--test=}"
for soak in "${soaks[@]}"; do
    filter=soak_
    if [[ $soak == */* ]]; then filter=${soak#*/}::soak_; fi
    cargo test --locked --release --test "${soak%%/*}" -- --ignored --nocapture --test-threads=1 "$filter"
done
