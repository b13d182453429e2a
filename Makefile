# The commands everybody uses. `make` alone says what there is.

# RocketMQ's official Python client, pinned; its own environment lives beside the build.
PYTHON_CLIENT := tests/clients/python/requirements.txt
# What judges the API document, and asks the API what it says there.
PYTHON_JUDGES := openapi-spec-validator==0.9.0 schemathesis==4.32.5
VENV := target/python
# Where cargo puts what it builds.
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Vite 8 and the tests' runner need it.
NODE_MIN := 20
HAS_NODE := command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) >= $(NODE_MIN) ? 0 : 1)' 2>/dev/null
CONSOLE_SOURCES := $(shell find web-console -type d \( -name node_modules -o -name dist \) -prune -o -type f -print) \
  $(wildcard openapi/*.yaml)

.PHONY: help run console test conformance apache clients torture browser lint fuzz bench bench-needs needs python node clients

help:
	@echo 'make run          build Gantry and start it with its data in ./gantry-data'
	@echo 'make console      build the browser console, which the next build of Gantry embeds (needs Node $(NODE_MIN))'
	@echo 'make test         everything that must hold before a change lands'
	@echo 'make conformance  the HTTP API and every official client, in every language, against real servers'
	@echo 'make apache       the same clients and scenarios against Apache RocketMQ itself (needs a JDK 17 with Maven)'
	@echo 'make torture      every fault with its full count: kills, power cuts, failing calls, crash states, damage, the model (two hours; power cuts need root)'
	@echo 'make browser      the console in Chromium against a real server'
	@echo 'make bench        Gantry beside null servers and peers (QUICK=1: under two minutes; ROW=5: one row; ROW=apache: beside Apache RocketMQ)'
	@echo 'make fuzz         each fuzz target for SECONDS=$(SECONDS), as `make test` does'
	@echo 'make lint         formatting and lints'

# Release: a broker is judged by its speed from the first minute on. Without Node it runs all the same.
run:
	@command -v cargo >/dev/null || { echo 'cargo is missing: install Rust 1.95 or newer from rustup.rs'; exit 1; }
	@if $(HAS_NODE); then $(MAKE) --no-print-directory console; \
	  else echo 'Node $(NODE_MIN) with npm is missing: this build goes without the console'; fi
	cargo build --release -p gantry-gateway
	@echo
	@echo 'Console:  http://127.0.0.1:8080   gRPC clients: 127.0.0.1:8081'
	@echo "HTTP API: curl -X PUT http://127.0.0.1:8080/v1/topics/orders --json '{}'"
	@echo "          curl http://127.0.0.1:8080/v1/topics/orders/messages -d hello"
	@echo
	@exec $(TARGET)/release/gantry

console: web-console/dist/index.html

web-console/dist/index.html: web-console/node_modules/.package-lock.json $(CONSOLE_SOURCES)
	cd web-console && npm run --silent build
	@touch $@

# `npm ci` fails where a registry lacks packages for other systems. This installs what the lock file says as well, and
# the comparison proves it.
%/node_modules/.package-lock.json: %/package.json %/package-lock.json | node
	cd $* && npm install --no-audit --no-fund
	@! git rev-parse --git-dir >/dev/null 2>&1 || git diff --exit-code -- $*/package-lock.json
	@touch $@

node:
	@$(HAS_NODE) || { echo 'Node $(NODE_MIN) or newer with npm is missing: nodejs.org, or apt-get install nodejs npm'; exit 1; }

# One profile and one set of features for everything that is built here: the server under test is the tests' own.
EVERYTHING := --workspace --features tests/bench
BUILD := cargo build $(EVERYTHING) --all-targets

# A line that calls make by its variable is run by `make -n` too, and the tests with it.
FUZZ := $(MAKE) --no-print-directory fuzz

# Tests that compute and tests that wait, for leases, kills and delays, go side by side, with the fuzz targets, so that the
# machine is never idle; those that wait come first when they are woken. tests/tidy knows that none is left out.
COMPUTING := --lib --bins --test loom --test simulation --test tidy
WAITING := --test clients --test conformance --test golden --test torture
COMPUTED := $(TARGET)/computing-tests.log

test: needs python clients lint console
	$(BUILD)
	@nice cargo test $(EVERYTHING) $(COMPUTING) >$(COMPUTED) 2>&1 & computing=$$!; \
	  nice $(FUZZ) & fuzz=$$!; \
	  GANTRY_PYTHON=$(CURDIR)/$(VENV)/bin/python cargo test $(EVERYTHING) $(WAITING); waited=$$?; \
	  wait $$computing; computed=$$?; cat $(COMPUTED); \
	  wait $$fuzz && exit $$((waited + computed))
	$(MAKE) --no-print-directory browser

conformance: needs python clients
	$(BUILD)
	GANTRY_PYTHON=$(CURDIR)/$(VENV)/bin/python cargo test $(EVERYTHING) --test conformance --test clients

# Nothing that must hold here: it shows what of the clients' table is Gantry's and what is RocketMQ's.
apache: needs python clients
	$(BUILD)
	GANTRY_PYTHON=$(CURDIR)/$(VENV)/bin/python cargo test $(EVERYTHING) --test clients -- apache

# `make test` does a slice of each. A fault that cannot be tried here says what it needs.
torture: needs
	$(BUILD) --profile torture
	GANTRY_MODEL_SEQUENCES=1000000 cargo test $(EVERYTHING) --profile torture --lib -- the_broker_does_what
	GANTRY_TORTURE=full cargo test $(EVERYTHING) --profile torture --test simulation -- --nocapture
	GANTRY_TORTURE=full cargo test $(EVERYTHING) --profile torture --test torture

# Pictures of every page are left in target/browser.
browser: needs console tests/browser/node_modules/.package-lock.json
	$(BUILD)
	GANTRY_BIN=$(abspath $(TARGET))/debug/gantry node --test --test-concurrency=2 --test-reporter=dot tests/browser/*.test.mjs

lint: web-console/node_modules/.package-lock.json
	cargo fmt --all --check
	cargo clippy $(EVERYTHING) --all-targets -- -D warnings
	cd web-console && npm run --silent check

# Coverage needs no nightly compiler and no cargo-fuzz, only these flags; they are for our target alone, so that build
# scripts and macros go without. What a run has learned is kept under target/, its seeds are checked in.
FUZZ_TARGETS := $(basename $(notdir $(wildcard tests/fuzz/fuzz_targets/*.rs)))
FUZZ_RUSTFLAGS := --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares
FUZZ_HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
FUZZ_DIR := $(abspath $(TARGET))/fuzz
SECONDS := 20

fuzz:
	@command -v c++ >/dev/null || { echo 'missing tools: sudo apt-get install build-essential'; exit 1; }
	cd tests/fuzz && RUSTFLAGS='$(FUZZ_RUSTFLAGS)' cargo build --release --locked --target $(FUZZ_HOST) --target-dir $(FUZZ_DIR)
	@printf '%s\n' $(FUZZ_TARGETS) | xargs -P 2 -I TARGET sh -c '\
	  mkdir -p $(FUZZ_DIR)/corpus/TARGET $(FUZZ_DIR)/found && \
	  if $(FUZZ_DIR)/$(FUZZ_HOST)/release/TARGET -max_total_time=$(SECONDS) -timeout=20 -rss_limit_mb=2048 -max_len=4096 \
	      -print_final_stats=1 -artifact_prefix=$(FUZZ_DIR)/found/TARGET- $(FUZZ_DIR)/corpus/TARGET tests/fuzz/corpus/TARGET \
	      >$(FUZZ_DIR)/TARGET.log 2>&1; \
	  then echo "fuzz TARGET: $$(sed -n "s/^stat::number_of_executed_units: *//p" $(FUZZ_DIR)/TARGET.log) inputs in $(SECONDS) s, nothing found"; \
	  else tail -n 40 $(FUZZ_DIR)/TARGET.log; echo "fuzz TARGET: failed, the input lies in $(FUZZ_DIR)/found"; exit 1; fi'

# Two builds: what is measured is what `make run` builds. One ROW or more: ROW=5, ROW='1 2'.
bench: bench-needs
	@if $(HAS_NODE); then $(MAKE) --no-print-directory console; \
	  else echo 'Node $(NODE_MIN) with npm is missing: Gantry is measured without its console'; fi
	cargo build --release -p gantry-gateway
	cargo build --release -p tests --no-default-features --features bench --bin bench
	@exec $(TARGET)/release/bench $(if $(QUICK),--quick) $(foreach row,$(ROW),--row $(row))

# Debian's packages where we may install them, else one line that says what to do.
INSTALL_MISSING = if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && apt-get install -y -qq $$missing; \
	else echo "missing tools: sudo apt-get install$$missing"; exit 1; fi

needs:
	@command -v cargo >/dev/null || { echo 'cargo is missing: install Rust 1.95 or newer from rustup.rs'; exit 1; }
	@missing=; want() { command -v $$1 >/dev/null || missing="$$missing $$2"; }; \
	want curl curl; want jq jq; want cc build-essential; want c++ build-essential; want npm 'nodejs npm'; want chromium chromium; want promtool prometheus; \
	python3 -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	want strace strace; PATH="$$PATH:/usr/sbin" want mkfs.xfs xfsprogs; PATH="$$PATH:/usr/sbin" want mkfs.ext4 e2fsprogs; \
	want fc-list fontconfig; fc-list :lang=zh 2>/dev/null | grep -q . || missing="$$missing fonts-noto-cjk"; \
	$(INSTALL_MISSING)

# Peers and loaders of `make bench`. Debian keeps nats-server where only root's PATH looks.
bench-needs:
	@command -v cargo >/dev/null || { echo 'cargo is missing: install Rust 1.95 or newer from rustup.rs'; exit 1; }
	@PATH="$$PATH:/usr/sbin"; missing=; want() { command -v $$1 >/dev/null || missing="$$missing $$2"; }; \
	want nats-server nats-server; want redis-server redis-server; want redis-benchmark redis-tools; \
	want h2load nghttp2-client; want wrk wrk; \
	$(INSTALL_MISSING)

# The drivers of RocketMQ's official clients, in every language. The run counts what is missing as not run, and says so.
CLIENTS := $(abspath $(TARGET))/clients
HAS_GO := go version 2>/dev/null | grep -Eq 'go(1\.(2[5-9]|[3-9][0-9])|[2-9])'
HAS_JAVA := command -v mvn >/dev/null && javac -version 2>&1 | grep -Eq 'javac (1[7-9]|[2-9][0-9])'

clients: python $(CLIENTS)/node/node_modules/.package-lock.json
	@cp tests/clients/node/driver.mjs $(CLIENTS)/node
	@if $(HAS_GO); then cd tests/clients/go && go build -o $(CLIENTS)/go/driver .; \
	  else echo 'Go 1.25 is missing (go.dev): the Go client is not run'; fi
	@if $(HAS_JAVA); then $(MAKE) --no-print-directory $(CLIENTS)/java/classes/Driver.class; \
	  else echo 'a JDK 17 with Maven is missing (apt-get install maven default-jdk-headless): the Java client is not run'; fi
	cd tests/clients/rust && cargo build --quiet --locked --target-dir $(CLIENTS)/rust

$(CLIENTS)/node/package.json: tests/clients/node/package.json tests/clients/node/package-lock.json
	@mkdir -p $(@D) && cp $^ $(@D)

# As for the console: install, and prove that it is what the lock file says.
$(CLIENTS)/node/node_modules/.package-lock.json: $(CLIENTS)/node/package.json | node
	cd $(CLIENTS)/node && npm install --no-audit --no-fund
	@cmp $(CLIENTS)/node/package-lock.json tests/clients/node/package-lock.json
	@touch $@

$(CLIENTS)/java/classes/Driver.class: tests/clients/java/Driver.java $(CLIENTS)/java/lib/resolved
	javac -d $(CLIENTS)/java/classes -cp '$(CLIENTS)/java/lib/*' tests/clients/java/Driver.java

$(CLIENTS)/java/lib/resolved: tests/clients/java/pom.xml
	cd tests/clients/java && mvn -q -B dependency:copy-dependencies -DoutputDirectory=$(CLIENTS)/java/lib
	@touch $@

python: $(VENV)/installed

$(VENV)/installed: Makefile $(PYTHON_CLIENT)
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $(PYTHON_CLIENT) $(PYTHON_JUDGES)
	@touch $@
