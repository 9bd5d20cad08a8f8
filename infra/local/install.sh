#!/bin/sh
# Installs what the private servers for demo and tests need from the system: RabbitMQ, the libcurl that mongod is
# linked to, and Python's venv where Debian leaves it out; for `tests` also openssl for their certificates, a browser for
# the pages, Prometheus for the alert rules and, where there is an npm to bring it, AsyncAPI's own schema. Starts nothing
# and leaves nothing switched on.
# Safe to run again: what is there is left alone.
set -eu

POLICY=/usr/sbin/policy-rc.d
ASYNCAPI_PACKAGE=@asyncapi/specs@6.11.1
ASYNCAPI_SCHEMA=.venv/share/asyncapi-3.0.0.json
ASYNCAPI_SHA256=d4571a420e6ffb7fcc7066c95a6db1202f299a3c51daa103d0706bf30f95e626
SUDO=
WANTED=${1:-servers} # or: venv, for Python's venv alone; tests, for what the tests need on top

say() { printf 'install-servers: %s\n' "$*"; }
fail() { say "$@" >&2; exit 1; }

has_rabbitmq() { [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]; }
has_libcurl() {
    for library in /usr/lib/*/libcurl.so.4 /usr/lib/libcurl.so.4 /usr/lib64/libcurl.so.4; do
        [ -e "$library" ] && return
    done
    return 1
}
has_venv() { "${PYTHON3:-python3}" -I -S -c 'import ensurepip, venv' 2>/dev/null; }

missing_packages() {
    has_venv || echo python3-venv
    [ "$WANTED" != venv ] || return 0
    has_rabbitmq || echo rabbitmq-server
    has_libcurl || echo libcurl4
    [ "$WANTED" = tests ] || return 0
    command -v openssl >/dev/null || echo openssl
    command -v chromium >/dev/null || echo chromium
    command -v promtool >/dev/null || echo prometheus
}

# Runs as root; what a command prints is shown only when it fails.
as_root() {
    output=$($SUDO "$@" 2>&1) || { status=$?; printf '%s\n' "$output" | tail -n 20 >&2; return "$status"; }
}
apt() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null
}

become_root() {
    [ "$(id -u)" -ne 0 ] || return 0
    if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
        say "not root: apt-get runs through sudo"
        SUDO=sudo
    else
        fail "needs root and found no usable sudo; run as root: apt-get update && apt-get install" \
            "--no-install-recommends$(printf ' %s' $missing)"
    fi
}

# Packages start their service when they are installed, unless this file says no.
forbid_service_starts() {
    [ ! -e "$POLICY" ] || return 0
    trap '$SUDO rm -f "$POLICY"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' HUP TERM
    printf '#!/bin/sh\nexit 101\n' | $SUDO tee "$POLICY" >/dev/null
    $SUDO chmod 755 "$POLICY"
}

# Called only for what this run installed: a server that was there before stays as its owner wants it.
# epmd is Erlang's name service; its socket would listen on every boot.
switch_off() {
    command -v systemctl >/dev/null || return 0
    say "switching the system's own service off: $1"
    now=
    [ ! -d /run/systemd/system ] || now=--now
    for unit; do
        [ ! -e "/lib/systemd/system/$unit" ] || as_root systemctl disable $now "$unit"
    done
}

# AsyncAPI publishes its schema with npm alone. Without it one test is skipped, which says so.
fetch_asyncapi_schema() {
    { [ "$WANTED" = tests ] && [ ! -e "$ASYNCAPI_SCHEMA" ] && command -v npm >/dev/null; } || return 0
    say "fetching AsyncAPI's schema"
    folder=$(mktemp -d)
    timeout 60 npm pack --silent --pack-destination "$folder" "$ASYNCAPI_PACKAGE" >/dev/null 2>&1 &&
        tar -xzf "$folder"/*.tgz -C "$folder" package/schemas/3.0.0.json ||
        { say "npm could not bring it"; rm -r "$folder"; return 0; }
    echo "$ASYNCAPI_SHA256  $folder/package/schemas/3.0.0.json" | sha256sum --check --status ||
        fail "$ASYNCAPI_PACKAGE holds another schema than the one that is known here"
    mkdir -p "$(dirname "$ASYNCAPI_SCHEMA")"
    mv "$folder/package/schemas/3.0.0.json" "$ASYNCAPI_SCHEMA"
    rm -r "$folder"
}

PYTHON3=${PYTHON3:-python3}
"$PYTHON3" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' ||
    fail "Python 3.11, 3.12 or 3.13 is needed, and $PYTHON3 is $("$PYTHON3" --version 2>&1): make PYTHON3=python3.12 …"
fetch_asyncapi_schema
missing=$(missing_packages)
[ -n "$missing" ] || { say "everything is there"; exit 0; }
command -v apt-get >/dev/null || fail "cannot install$(printf ' %s' $missing): this system has no apt-get." \
    "Use servers of your own: set LOGISTICS_AMQP_URL and LOGISTICS_MONGODB_URI"

become_root
say "updating the package lists"
apt update || { sleep 5; apt update; } || fail "apt-get update failed: check the network and the package sources"
# Ubuntu 24.04 and Debian 13 renamed the library for their 64-bit time_t.
[ -z "$(apt-cache search --names-only '^libcurl4t64$')" ] || missing=$(echo "$missing" | sed 's/^libcurl4$/libcurl4t64/')
case $missing in *rabbitmq-server*)
    offered=$(apt-cache policy rabbitmq-server | sed -n 's/^ *Candidate: *//p')
    dpkg --compare-versions "$offered" ge 3.10 || fail "this system offers RabbitMQ $offered, and 3.10 or later is" \
        "needed: use a server of your own (set LOGISTICS_AMQP_URL) or Debian 12, Ubuntu 24.04 or newer" ;;
esac
forbid_service_starts
say "installing$(printf ' %s' $missing)"
apt install -y --no-install-recommends $missing || fail "apt-get install failed: see the lines above"
case $missing in *rabbitmq-server*) switch_off rabbitmq-server.service epmd.socket epmd.service ;; esac
case $missing in *prometheus*) switch_off prometheus.service ;; esac
[ -z "$(missing_packages)" ] || fail "apt-get went through, but still missing:$(printf ' %s' $(missing_packages))"
say "done"
