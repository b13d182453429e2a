# The commands everybody uses. `make` alone says what there is.

# The official Python client, pinned; its own environment lives beside the build.
PYTHON_CLIENT := rocketmq-python-client==5.1.2
VENV := target/python
PACKAGES := curl jq python3-venv

.PHONY: help run test conformance lint bench needs python

help:
	@echo 'make run          build Gantry and start it with its data in ./gantry-data'
	@echo 'make test         everything that must hold before a change lands'
	@echo 'make conformance  the official clients and the HTTP API against real servers'
	@echo 'make bench        benchmarks as ratios (QUICK=1: under two minutes)'
	@echo 'make lint         formatting and lints'

# Release: a broker is judged by its speed from the first minute on.
run:
	@command -v cargo >/dev/null || { echo 'cargo is missing: install Rust 1.95 or newer from rustup.rs'; exit 1; }
	cargo build --release -p gantry-gateway
	@echo
	@echo 'HTTP API: http://127.0.0.1:8080   gRPC clients: 127.0.0.1:8081'
	@echo "try:  curl -X PUT http://127.0.0.1:8080/v1/topics/orders --json '{}'"
	@echo "then: curl http://127.0.0.1:8080/v1/topics/orders/messages -d hello"
	@echo
	@exec target/release/gantry

# One profile for everything that is built here: the server under test is the tests' own.
test: needs python lint
	cargo build -p gantry-gateway
	GANTRY_PYTHON=$(CURDIR)/$(VENV)/bin/python cargo test --workspace

conformance: needs python
	cargo build -p gantry-gateway
	GANTRY_PYTHON=$(CURDIR)/$(VENV)/bin/python cargo test -p tests --test conformance

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

bench:
	cargo run --release -p gantry-broker-core --example append

# Debian's packages where we may install them, else one line that says what to do.
needs:
	@command -v cargo >/dev/null || { echo 'cargo is missing: install Rust 1.95 or newer from rustup.rs'; exit 1; }
	@if ! { command -v curl && command -v jq && python3 -c 'import ensurepip'; } >/dev/null 2>&1; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && apt-get install -y -qq $(PACKAGES); \
	  else echo 'missing tools: sudo apt-get install $(PACKAGES)'; exit 1; fi; fi

python: $(VENV)/installed

$(VENV)/installed: Makefile
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check '$(PYTHON_CLIENT)'
	@touch $@
