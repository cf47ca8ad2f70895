#!/usr/bin/env bash
# deb.sh [BINARY [FOLDER]]: a Debian package of the program at BINARY, in FOLDER; prints its name.
#
# Without them: target/release/drawgate, in target/package. Needs dpkg-deb, strip and Python (on Debian: dpkg, binutils,
# python3), and cargo with what it has fetched. The same program and the same commit give the same package. COMPRESSION is an
# option of dpkg-deb's, -Zxz where it is left out.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${1:-target/release/drawgate}
folder=${2:-target/package}
[ -x "$binary" ] || { echo "deb.sh: there is no program at $binary: cargo build --release --locked makes one" >&2; exit 1; }
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat --format=%Y Cargo.lock)}
export SOURCE_DATE_EPOCH
umask 022

version=$("$binary" version | cut -d ' ' -f 2)-1
architecture=$(dpkg --print-architecture)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 0755 "$tree"

# put MODE FILE PLACE: a file of this repository into the package.
put() {
    install -D -m "$1" "$2" "$tree/$3"
}

# put_packed PLACE: what is on standard input, by gzip.
put_packed() {
    mkdir -p "$(dirname "$tree/$1")"
    gzip -9n >"$tree/$1"
}

# filled FILE: one of packaging/debian/*.in with what is known now.
filled() {
    sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@DEPENDS@/${depends:-}/" \
        -e "s/@INSTALLED_SIZE@/${installed_size:-}/" -e "s/@DATE@/$(date --utc --rfc-email --date "@$SOURCE_DATE_EPOCH")/" \
        "packaging/debian/$1"
}

put 0755 "$binary" usr/bin/drawgate
strip --strip-unneeded --remove-section=.comment "$tree/usr/bin/drawgate"

put 0644 packaging/systemd/drawgate.service usr/lib/systemd/system/drawgate.service
put 0644 packaging/systemd/drawgate.socket usr/lib/systemd/system/drawgate.socket
put 0644 packaging/fail2ban/filter.d/drawgate.conf usr/share/drawgate/fail2ban/filter.d/drawgate.conf
put 0644 packaging/fail2ban/jail.d/drawgate.conf usr/share/drawgate/fail2ban/jail.d/drawgate.conf
put 0644 packaging/monitoring/drawgate.rules.yml usr/share/drawgate/monitoring/drawgate.rules.yml
put 0644 packaging/monitoring/grafana.json usr/share/drawgate/monitoring/grafana.json
put 0644 packaging/systemd/sysusers.conf usr/lib/sysusers.d/drawgate.conf

# What `drawgate init` writes, with a state that outlives the process where the service may write.
mkdir -p "$tree/etc/drawgate"
"$binary" init "$tree/etc/drawgate/drawgate.toml" >/dev/null
sed -i 's|path = "websocket_errors.log"|path = "/var/lib/drawgate/websocket_errors.log"|' "$tree/etc/drawgate/drawgate.toml"
cat packaging/debian/state.toml >>"$tree/etc/drawgate/drawgate.toml"

completions() {
    mkdir -p "$tree/$(dirname "$2")"
    "$binary" completions "$1" >"$tree/$2"
}
completions bash usr/share/bash-completion/completions/drawgate
completions zsh usr/share/zsh/vendor-completions/_drawgate
completions fish usr/share/fish/vendor_completions.d/drawgate.fish

mkdir -p "$tree/usr/share/man/man1"
"$binary" manual "$tree/usr/share/man/man1"
gzip -9n "$tree"/usr/share/man/man1/*

for page in docs/*.md; do
    case $(basename "$page") in
        # About the program's own tests.
        autobahn.md | coverage.md | differential.md | fuzzing.md | performance.md) continue ;;
    esac
    put 0644 "$page" "usr/share/doc/drawgate/$(basename "$page")"
done
filled changelog.in | put_packed usr/share/doc/drawgate/changelog.Debian.gz
put_packed usr/share/doc/drawgate/changelog.gz <CHANGELOG.md
packaging/notices.py | put_packed usr/share/doc/drawgate/libraries.gz
# The paragraphs of the licence, one space further in.
sed -e 's/^$/./' -e 's/^/ /' LICENSE-MIT >"$tree/mit"
filled copyright.in | sed -e "/^@MIT@$/{r $tree/mit" -e 'd}' >"$tree/usr/share/doc/drawgate/copyright"
rm "$tree/mit"

# The oldest C library that has all that the program asks of it.
libc=$(grep --text --only-matching 'GLIBC_2\.[0-9.]*[0-9]' "$tree/usr/bin/drawgate" | sort --version-sort | tail -n 1)
depends="libc6 (>= ${libc#GLIBC_}), libgcc-s1, passwd"
installed_size=$(du --summarize --apparent-size --block-size=1024 "$tree" | cut -f 1)
mkdir "$tree/DEBIAN"
filled control.in >"$tree/DEBIAN/control"
put 0644 packaging/debian/conffiles DEBIAN/conffiles
for script in postinst prerm postrm; do
    put 0755 "packaging/debian/$script" "DEBIAN/$script"
done
(cd "$tree" && find usr -type f -print0 | sort --zero-terminated | xargs --null md5sum) >"$tree/DEBIAN/md5sums"

mkdir -p "$folder"
package=$folder/drawgate_${version}_$architecture.deb
dpkg-deb --root-owner-group "${COMPRESSION:--Zxz}" --build "$tree" "$package" >/dev/null
echo "$package"
