#!/usr/bin/env bash
# Runs the example over memory and over Redis under a real Prometheus. Every expression of the dashboard must give data,
# every alert must be evaluated, and the cases of the alerts must pass. It takes about a minute.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage="Usage: bash check.sh [SECONDS]

Checks dashboard.json and alerts.yml with Prometheus, after SECONDS of visitors (40).
Needs cargo, prometheus, promtool, redis-server, curl and jq: apt-get install prometheus redis-server curl jq"
case ${1-} in
    -h | --help) echo "$usage" && exit ;;
    *[!0-9]*) echo "$usage" >&2 && exit 2 ;;
esac
for program in cargo prometheus promtool redis-server curl jq; do
    command -v "$program" >/dev/null || { echo "check.sh: $program is missing" >&2 && exit 1; }
done

scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$scratch"' EXIT

promtool check rules alerts.yml
promtool test rules alerts.test.yml

# start NAME URL: the example over the store. Its address is in the file NAME.
start() {
    cargo run --quiet --locked --package observability -- --listen 127.0.0.1:0 --url "$2" >"$scratch/$1.out" 2>/dev/null &
    until grep -q metrics "$scratch/$1.out"; do
        kill -0 $! && sleep 0.2
    done
    sed -n 's|^http://\([^/]*\)/metrics .*|\1|p' "$scratch/$1.out" >"$scratch/$1"
}
redis-server --port 0 --save '' --unixsocket "$scratch/redis.sock" >/dev/null &
until [ -S "$scratch/redis.sock" ]; do sleep 0.2; done
start memory "memory://?capacity=1MiB&near_cache=64KiB"
start redis "unix://$scratch/redis.sock"

targets="\"$(<"$scratch/memory")\", \"$(<"$scratch/redis")\""
sed "s|targets: .*|targets: [$targets]|; s|\[alerts.yml\]|[$PWD/alerts.yml]|" prometheus.yml >"$scratch/prometheus.yml"
address=127.0.0.1:${PROMETHEUS_PORT:-19090}
prometheus --config.file="$scratch/prometheus.yml" --storage.tsdb.path="$scratch/data" \
    --web.listen-address="$address" 2>"$scratch/prometheus.log" &
prometheus=$!
sleep "${1:-40}"
kill -0 "$prometheus" || { tail -3 "$scratch/prometheus.log" >&2 && exit 1; }

empty=0 count=0
while IFS=$'\t' read -r title expression; do
    expression=${expression//\$__rate_interval/30s}
    expression=${expression//\$job/.*} expression=${expression//\$instance/.*} expression=${expression//\$engine/.*}
    results=$(promtool query instant "http://$address" "$expression" | grep -c . || true)
    count=$((count + 1))
    printf '%4d series  %s\n' "$results" "$title"
    [ "$results" -gt 0 ] || empty=$((empty + 1))
done < <(jq -r '.panels[] | select(.targets) | .title as $title | .targets[] | "\($title): \(.legendFormat)\t\(.expr)"' dashboard.json)

rules=$(curl -fsS "http://$address/api/v1/rules" | jq -r '.data.groups[].rules[] | "\(.health)  \(.state)  \(.name)"')
echo "$rules"
echo "$count expressions, $empty without data"
[ "$count" -gt 0 ] && [ "$empty" = 0 ] && ! grep -qv '^ok ' <<<"$rules"
