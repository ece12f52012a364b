#!/usr/bin/env bash
# Install missing servers of the demo and the tests from Debian's packages. It starts none of them: testbed/services.py does, on
# free ports.
set -euo pipefail

# Servers may be in sbin, which is not in an ordinary user's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin

missing=()
# Programs and packages have the same names.
for program in redis-server rabbitmq-server prometheus prometheus-pushgateway nginx victoria-metrics; do
    command -v "$program" >/dev/null || missing+=("$program")
done
[ ${#missing[@]} -gt 0 ] || exit 0

install=(apt-get install --yes --no-install-recommends "${missing[@]}")
if ! command -v apt-get >/dev/null; then
    echo "install_servers: missing: ${missing[*]}. apt-get is not available: install them in PATH." >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "install_servers: missing: ${missing[*]}. Install with: sudo ${install[*]}" >&2
    exit 1
fi

echo "install_servers: installing ${missing[*]} with apt-get"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get update && DEBIAN_FRONTEND=noninteractive "${install[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "install_servers: apt-get failed (see above); the command was: ${install[*]}" >&2
    exit 1
fi
