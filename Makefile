# `make demo` shows the whole idea; `make test` proves it. The rest is for people who change it.
SHELL := /bin/bash
export SQLX_OFFLINE ?= true
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)
ONCE_FLAG := $(if $(ONCE),--once,)

.PHONY: demo test lint fmt sqlx openapi bench quality help

demo: ## Order three services on a simulated K3s and watch them come up (ONCE=1: end when it is proved)
	@scripts/need build postgres
	cargo run --quiet --bin lumbung -- demo $(ONCE_FLAG)

test: ## Every test, beside a throw-away PostgreSQL
	@scripts/need build postgres python
	cargo build --quiet --bin lumbung
ifeq ($(NEXTEST),yes)
	scripts/with-postgres cargo nextest run --workspace --no-fail-fast $(ARGS)
	cargo test --quiet --doc -p lumbung-placement
else
	scripts/with-postgres cargo test --workspace --no-fail-fast $(ARGS)
endif

lint: ## Formatting, clippy, and what is committed but generated
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	scripts/with-postgres scripts/sqlx-cache --check

fmt: ## Format everything
	cargo fmt --all

sqlx: ## Write the offline cache of the checked SQL
	scripts/with-postgres scripts/sqlx-cache

openapi: ## Write the OpenAPI document that the tests compare with
	cargo run --quiet --bin lumbung -- openapi > docs/openapi.json

bench: ## The benchmarks (criterion), then the control plane's own latencies
	cargo bench -p lumbung-bench
	cargo build --quiet --release --bin lumbung
	scripts/with-postgres cargo run --quiet --release -p lumbung-bench-api

quality: ## How good placement is, beside the rules of others (DATA=DIR of traces, ONLY=tasks, JSON=FILE)
	cargo run --quiet --release -p lumbung-bench --bin quality -- $(if $(DATA),--data $(DATA),) $(if $(ONLY),--only $(ONLY),) $(if $(JSON),--json $(JSON),)

help: ## This list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
