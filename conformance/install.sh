#!/usr/bin/env bash
# install.sh FOLDER [PROGRAM...]: what a folder's runs need beside Rust.
#
# FOLDER/.venv from its requirements.txt and FOLDER/node_modules from its package-lock.json, where it has them: both lists
# are pinned, and each is followed again only when it has changed. What Debian packages, the PROGRAMs among it, comes by
# apt-get where it is missing, as root or by sudo.
set -euo pipefail
cd "$(dirname "$0")/.."

# need CHECK PACKAGE...: what to do when a command does not work here.
need() {
    local check=$1
    shift
    eval "$check" >/dev/null 2>&1 && return
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo --non-interactive)
    if command -v apt-get >/dev/null && "${as_root[@]}" true 2>/dev/null; then
        echo "installing: $*"
        "${as_root[@]}" apt-get update -qq
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            -o DPkg::Lock::Timeout=300 "$@" >/dev/null
        eval "$check" >/dev/null && return
    fi
    echo "$folder: '$check' fails here; install: $* (on Debian: sudo apt-get install $*)" >&2
    exit 1
}

# need_program NAME: a program that Debian packages under its own name.
need_program() {
    case $1 in
        # Elsewhere it has other names; conformance/chromium.py knows the same ones.
        chromium) need "chromium --version || chromium-browser --version || google-chrome --version" chromium ;;
        dpkg-deb) need "dpkg-deb --version" dpkg ;;
        caddy) need "caddy version" caddy ;;
        go) need "go version && test -d /usr/share/gocode/src/github.com/gorilla/websocket" golang-go golang-github-gorilla-websocket-dev ;;
        haproxy) need "PATH=$PATH:/usr/sbin haproxy -v" haproxy ;;
        nginx) need "PATH=$PATH:/usr/sbin nginx -v" nginx-light ;;
        fail2ban-regex) command -v fail2ban-regex >/dev/null || fetch fail2ban usr/bin/fail2ban-regex ;;
        prosody)
            command -v prosody >/dev/null && return
            need "lua5.4 -e 'require [[lfs]] require [[lxp]] require [[socket]] require [[ssl]]'" lua5.4 lua-bitop lua-expat lua-filesystem lua-sec lua-socket
            fetch prosody usr/bin/prosody
            ;;
        promtool) command -v promtool >/dev/null || fetch prometheus usr/bin/promtool ;;
        strip) need "strip --version" binutils ;;
        systemd-analyze) need "systemd-analyze --version" systemd ;;
        testssl) need "command -v testssl" testssl.sh ;;
        *) need "$1 --version" "$1" ;;
    esac
}

# fetch PACKAGE PATH: a file of a package in target/tools, where installing the package would start a service.
fetch() {
    local package=$1 place=target/tools/$1
    [ -e "$place/$2" ] && return
    local fetched
    fetched=$(mktemp -d)
    echo "fetching: $package"
    (cd "$fetched" && { apt-get download -qq "$package" || { apt-get update -qq && apt-get download -qq "$package"; }; }) >/dev/null 2>&1 || true
    rm -rf "$place"
    mkdir -p "$place"
    dpkg-deb --extract "$fetched/$package"_*.deb "$place" 2>/dev/null || true
    rm -rf "$fetched"
    [ -e "$place/$2" ] && return
    echo "$folder: the package $package cannot be fetched here; install it (on Debian: sudo apt-get install $package)" >&2
    exit 1
}

# is_installed LIST COPY: whether an install from this very list has ended well; true too where there is no list.
is_installed() {
    [ ! -e "$1" ] || cmp -s "$1" "$2"
}

folder=$1
shift
for program in "$@"; do
    need_program "$program"
done
cd "$folder"

if ! is_installed requirements.txt .venv/installed.txt; then
    need "python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'" python3
    need "python3 -c 'import ensurepip, venv'" python3-venv
    rm -rf .venv
    python3 -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
    cp requirements.txt .venv/installed.txt
    echo "$folder: installed .venv"
fi

if ! is_installed package-lock.json node_modules/installed.json; then
    need "node --version && npm --version" nodejs npm
    npm ci --silent
    cp package-lock.json node_modules/installed.json
    echo "$folder: installed node_modules"
fi
