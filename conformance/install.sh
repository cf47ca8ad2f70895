#!/usr/bin/env bash
# Installs what the conformance runs need beside Rust: conformance/.venv and conformance/node_modules, both from pinned
# lists. Runs again only when a list has changed. Uses apt-get for what Debian has split off, when it may.
set -euo pipefail
cd "$(dirname "$0")"

# need COMMAND PACKAGE...: what to do when a command does not work here.
need() {
    local command=$1
    shift
    eval "$command" >/dev/null 2>&1 && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing: $*"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
        eval "$command" >/dev/null && return
    fi
    echo "conformance: '$command' fails here; install: $* (on Debian: sudo apt-get install $*)" >&2
    exit 1
}

# same_as LIST COPY: whether an install from this very list has ended well.
same_as() {
    cmp -s "$1" "$2"
}

if ! same_as requirements.txt .venv/installed.txt; then
    need "python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'" python3
    need "python3 -c 'import ensurepip, venv'" python3-venv
    rm -rf .venv
    python3 -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
    cp requirements.txt .venv/installed.txt
    echo "conformance: installed .venv"
fi

if ! same_as package-lock.json node_modules/installed.json; then
    need "node --version && npm --version" nodejs npm
    npm ci --silent
    cp package-lock.json node_modules/installed.json
    echo "conformance: installed node_modules"
fi

# Only what runs it needs it: `install.sh testssl`.
if [ "${1:-}" = testssl ]; then
    need "command -v testssl" testssl.sh
fi
