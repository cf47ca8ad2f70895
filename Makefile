# Everything that can be checked here, a target each. `make test` is what has to pass before a change is merged.
# A fresh machine needs Rust (rustfmt and clippy with it), a C compiler, Python 3.11 and Node 18; the rest installs itself.

.DELETE_ON_ERROR:
.PHONY: test check unit attack cost coverage fuzz-corpus fuzz simulate program tools conformance clients pages browser monitoring package licences newcomer clean

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BINARY := $(TARGET_DIR)/debug/drawgate
PYTHON := conformance/.venv/bin/python

# In this order: what is quick and fails most often comes first. (-j would start them all at once: the clients use fixed ports.)
test:
	$(MAKE) check
	$(MAKE) unit
	$(MAKE) cost
	$(MAKE) coverage
	$(MAKE) fuzz-corpus
	$(MAKE) licences
	$(MAKE) clients
	$(MAKE) pages
	$(MAKE) monitoring
	$(MAKE) browser
	$(MAKE) package
	$(MAKE) conformance SAMPLE=1
	$(MAKE) newcomer
	$(MAKE) bench-smoke

# Formatting, lints and documentation, warnings denied.
check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
ifneq ($(wildcard fuzz/Cargo.toml),)
	cargo fmt --manifest-path fuzz/Cargo.toml --all --check
	cargo clippy --manifest-path fuzz/Cargo.toml --all-targets --locked --quiet -- -D warnings
endif

# Unit, integration and documentation tests.
unit:
	cargo test --workspace --locked

# The program with 256 MiB under a mixed attack for SECONDS (docs/overload.md); 180 unless it is said.
attack:
	ATTACK_SECONDS=$(or $(SECONDS),180) cargo test --package drawgate-cli --test process --locked r11_under -- --nocapture

# What the look into a message may cost (M16), in an optimised build; says what it does.
cost:
	cargo test --release --package drawgate --test inspect --locked m16_ -- --nocapture --test-threads 1

# How much of the protocol crate its own tests reach: at least 97 % of the lines, and all but what docs/coverage.md explains.
coverage:
	conformance/install.sh conformance/coverage
	python3 conformance/coverage/measure.py

# The fuzz targets over their corpus, and 10,000 seeds of the simulation, on the stable compiler.
fuzz-corpus:
ifneq ($(wildcard fuzz/Cargo.toml),)
	cargo test --manifest-path fuzz/Cargo.toml --locked
endif

# Fuzzes for MINUTES in all, or TARGET alone, JOBS at a time, and says how often each target ran. MERGE=1 puts what was found
# into the corpus, minimised; COUNT=1 adds the executions to docs/fuzzing.md.
fuzz:
	fuzz/run.py --minutes $(or $(MINUTES),1) --jobs $(or $(JOBS),1) $(if $(TARGET),--target $(TARGET)) $(if $(MERGE),--merge) $(if $(COUNT),--count)

# The whole gateway on virtual time, with clients that SEEDS seeds draw, from FIRST on; SEED=n replays one and shows it.
simulate:
	$(if $(SEED),SEED=$(SEED)) SEEDS=$(or $(SEEDS),100000) FIRST=$(or $(FIRST),0) \
	    cargo test --manifest-path fuzz/Cargo.toml --release --locked --test programs -- --nocapture

# The program that the suites from outside drive: a debug build, whose assertions are on.
program:
	cargo build --package drawgate-cli --locked

# What those suites are made of, from pinned lists. Does nothing where it is there already.
tools:
	conformance/install.sh conformance

# The Autobahn suite against the program and through it, and testssl.sh, some minutes. WRITE=1 brings docs/autobahn.md up to date; SAMPLE=1 takes a few cases
# of each part of the compression groups and leaves testssl.sh out, some seconds.
conformance: program tools
	$(PYTHON) conformance/autobahn.py --binary $(BINARY) $(if $(SAMPLE),--sample) $(if $(WRITE),--write)
	$(PYTHON) conformance/relayed.py --binary $(BINARY) $(if $(SAMPLE),,--whole) $(if $(WRITE),--write)
	$(if $(SAMPLE),,$(PYTHON) conformance/relayed.py --binary $(BINARY) --compressed --whole --groups 12 13)
	$(if $(SAMPLE),,conformance/install.sh conformance testssl)
	$(if $(SAMPLE),,$(PYTHON) conformance/tls.py --binary $(BINARY))

# Real clients against `drawgate demo`, and real applications behind `drawgate run`.
clients: program tools
	$(PYTHON) conformance/clients.py --binary $(BINARY)
	$(PYTHON) conformance/upstreams.py --binary $(BINARY)

# The examples in docs/, word for word, against the program.
pages: program tools
	conformance/install.sh conformance go haproxy caddy nginx
	$(PYTHON) conformance/docs.py --binary $(BINARY)

# A page in headless Chromium against the program, and a chat application that others wrote behind it.
browser: program
	conformance/install.sh conformance chromium
	conformance/install.sh conformance/chat nginx prosody
	$(PYTHON) conformance/browser.py --binary $(BINARY)
	$(PYTHON) conformance/dashboard.py --binary $(BINARY)
	$(PYTHON) conformance/sealed.py --binary $(BINARY)
	$(PYTHON) conformance/chat.py --binary $(BINARY)

# The alerts and the Grafana dashboard in packaging/monitoring: of metrics that there are, and the alerts run by promtool. And the filter
# in packaging/fail2ban, by fail2ban-regex, over what the program writes.
monitoring: program
	conformance/install.sh conformance promtool fail2ban-regex
	$(PYTHON) conformance/monitoring.py
	$(PYTHON) conformance/fail2ban.py --binary $(BINARY)

# The Debian package: built, installed where this is root (UNPACK=1: unpacked into a folder), run as its unit says, removed.
package: program tools
	conformance/install.sh conformance dpkg-deb strip strace systemd-analyze
	$(PYTHON) conformance/package.py --binary $(BINARY) $(if $(UNPACK),--unpack)

# Licences, sources and flaws of every dependency.
licences:
	conformance/licences.sh

# The README's commands, word for word, on a fresh clone.
newcomer:
	python3 conformance/newcomer.py

clean:
	cargo clean
	rm -rf conformance/.venv conformance/node_modules conformance/chat/node_modules conformance/coverage/.venv bench/.venv bench/node_modules fuzz/target bench/target drawgate-data

.PHONY: bench bench-smoke

BENCH := --manifest-path bench/Cargo.toml --locked

# What the data path costs beside its peers; writes docs/performance.md. WHAT is one or more of messages, handshake, many,
# idle, tls, identity, relay, validation and instructions; without it, all of them: some twenty minutes, on a machine that does nothing else.
bench:
	conformance/install.sh bench valgrind nginx haproxy caddy
	cargo build --release --package drawgate-cli --locked
	cargo build --release $(BENCH)
	cargo run --release --quiet $(BENCH) -- --drawgate $(TARGET_DIR)/release/drawgate --page docs/performance.md $(WHAT)

# Whether the bench still works: lints, tests, and a moment of it. Its figures mean nothing here.
bench-smoke: program
	cargo fmt --manifest-path bench/Cargo.toml --check
	cargo clippy $(BENCH) --all-targets --quiet -- -D warnings
	cargo test $(BENCH) --lib --quiet
	cargo build $(BENCH) --quiet
	cargo run --quiet $(BENCH) -- --drawgate $(BINARY) --smoke
