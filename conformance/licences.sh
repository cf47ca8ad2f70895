#!/usr/bin/env bash
# Holds every dependency to deny.toml: licences, versions, sources, and known flaws. Installs cargo-deny where it is missing
# (two minutes on two cores, once).
#
# The database of advisories lives on the network. Where it cannot be reached this says so and goes on, unless
# ADVISORIES=required. That an advisory would turn the run red is checked every time, with a made-up one.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
tools=${CARGO_TARGET_DIR:-target}/tools
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The one on PATH where it is the right one, else our own.
deny=cargo-deny
if [ "$("$deny" --version 2>/dev/null)" != "cargo-deny $version" ]; then
    deny=$tools/bin/cargo-deny
    if [ "$("$deny" --version 2>/dev/null)" != "cargo-deny $version" ]; then
        echo "licences: building cargo-deny $version, once"
        cargo install --quiet --locked "cargo-deny@$version" --root "$tools"
    fi
fi

# deny_in WORKSPACE CONFIG OPTION...: cargo-deny over one workspace.
deny_in() {
    local workspace=$1 config=$2
    shift 2
    "$deny" --locked --manifest-path "$workspace/Cargo.toml" --config "$config" "$@"
}

# rules_hold WORKSPACE OPTION...: what needs no network but for the crates themselves.
rules_hold() {
    local workspace=$1
    shift
    cargo fetch --quiet --locked --manifest-path "$workspace/Cargo.toml"
    echo "licences: $workspace/Cargo.toml"
    deny_in "$workspace" deny.toml --offline check "$@" licenses bans sources
}

# A made-up advisory against a crate that we do use, in a database of our own, must be found. Should fetching ever change
# so that this no longer reaches cargo-deny, the run fails too.
advisories_turn_red() {
    mkdir -p "$work/database/crates/httparse"
    cat >"$work/database/crates/httparse/RUSTSEC-2000-0001.md" <<'ADVISORY'
```toml
[advisory]
id = "RUSTSEC-2000-0001"
package = "httparse"
date = "2000-01-01"

[versions]
patched = [">= 9999.0.0"]
```

# A made-up flaw

So that the check can be seen to fail.
ADVISORY
    git -C "$work/database" init --quiet --initial-branch=main
    git -C "$work/database" add .
    git -C "$work/database" -c user.name=drawgate -c user.email=drawgate@localhost commit --quiet --message="a flaw"
    sed "s|^\[advisories\]|[advisories]\ndb-path = \"$work/fetched\"|" deny.toml >"$work/deny.toml"
    GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="url.file://$work/database.insteadOf" \
        GIT_CONFIG_VALUE_0=https://github.com/RustSec/advisory-db deny_in . "$work/deny.toml" fetch db
    if deny_in . "$work/deny.toml" --offline check advisories >"$work/found" 2>&1 || ! grep -q RUSTSEC-2000-0001 "$work/found"; then
        cat "$work/found"
        echo "advisories: a made-up advisory against httparse was not found; this check cannot fail" >&2
        exit 1
    fi
    echo "advisories: a made-up advisory turns the run red, as it should"
}

advisories_hold() {
    if ! deny_in . deny.toml fetch db >"$work/fetch" 2>&1; then
        cat "$work/fetch"
        echo "advisories: NOT CHECKED, the database of advisories could not be reached (see above)"
        [ "${ADVISORIES:-optional}" != required ]
        return
    fi
    local workspace
    for workspace in "$@"; do
        deny_in "$workspace" deny.toml check advisories
    done
}

workspaces=(.)
rules_hold . -D unmatched-skip -D unnecessary-skip -A license-exception-not-encountered
# The other workspaces use fewer crates: an exception or a licence that they do not need is no news there.
for other in fuzz bench; do
    if [ -f "$other/Cargo.toml" ]; then
        allowed=(unmatched-skip unnecessary-skip license-not-encountered license-exception-not-encountered)
        # The peers that bench/ measures bring what they bring; nothing of it ships.
        [ "$other" = bench ] && allowed+=(duplicate)
        rules_hold "$other" "${allowed[@]/#/-A=}"
        workspaces+=("$other")
    fi
done
advisories_turn_red
advisories_hold "${workspaces[@]}"
