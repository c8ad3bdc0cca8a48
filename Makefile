# `make run` and `make test` are all a newcomer needs on a fresh Debian machine with cargo and node.
SHELL := /bin/bash
.DEFAULT_GOAL := help
WEB := agent-gateway/web
CARGO ?= cargo

.PHONY: help run test bench regen fmt lint audit web deps-build deps-test deps-bench

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

run: deps-build web ## build everything and start the demo in the foreground
	exec $(CARGO) run --release -p zongji -- demo

test: ## install what the tests need, run all of them; ends with "N passed, N failed, N skipped"
	@tests/run.sh

bench: deps-bench ## the benchmark table
	$(CARGO) build --release -p zongji
	$(CARGO) run --release -q -p zongji-benches

regen: ## remake every generated file
	@tests/regen.sh

fmt: ## format
	$(CARGO) fmt

lint: ## rustfmt, clippy, svelte-check
	$(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	cd $(WEB) && npm run check

audit: ## licences, bans and sources of the dependencies
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	cargo deny check licenses bans sources

web: $(WEB)/node_modules/.package-lock.json
	cd $(WEB) && npm run build

$(WEB)/node_modules/.package-lock.json: $(WEB)/package-lock.json
	cd $(WEB) && npm ci --no-audit --no-fund

deps-build: ## (installs the C compiler where there is none)
	@tests/install.sh build

deps-test:
	@tests/install.sh build test

deps-bench:
	@tests/install.sh build test bench
