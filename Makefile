# `make up` and `make test` are all that a fresh Debian or Ubuntu with Rust needs; `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

step := scripts/step.sh
programs := imagecrud-deploy imagecrud localcloud
target := $(or $(CARGO_TARGET_DIR),target)
image = $(step) "the VM image (built once, then cached)" \
  scripts/as-root.sh "the local cloud" bin/localcloud image build
shell_scripts = $(shell find . \( -name target -o -name .git \) -prune -o -name '*.sh' -print) .ci/run

# Each step prints its own progress, and cargo uses all cores by itself.
.NOTPARALLEL:
.PHONY: help up down build test matrix lint deps deps-test image bench

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: deps build ## install what is missing, build, start the local cloud, deploy, upload sample/, print the URL
	@scripts/up.sh

down: ## remove the stack; the data volume and the bucket stay (DELETE_DATA=1: nothing stays)
	@echo "removing the stack$(if $(DELETE_DATA), with every row and picture; data volume and bucket stay (make down DELETE_DATA=1 removes them as well))" >&2
	@if [ "$${IMAGECRUD_CLOUD:-local}" = local ]; then root=(scripts/as-root.sh "the local cloud"); else root=(); fi; \
	"$${root[@]}" bin/imagecrud-deploy teardown --yes $(if $(DELETE_DATA),--delete-data)

# All targets, also for `up`: the tests use the very same units, so that the AWS SDKs are compiled once.
build: ## build everything and put the three programs into bin/
	@scripts/check-rust.sh
	@$(step) "building (the first time 8 min or more on 2 cores, most of it the AWS SDKs)" \
	  cargo build --workspace --all-targets
	@mkdir -p bin
	@cd $(target)/debug && install -m 0755 $(programs) "$(CURDIR)/bin/"

test: deps-test build ## install what the tests need, build, and run all of them (as root also those on real containers)
	@$(step) "Python clients for the tests" scripts/python-tools.sh
	@$(step) "axe-core for the tests" scripts/axe-core.sh
	@if ! cargo nextest --version >/dev/null 2>&1; then \
	  $(step) "installing cargo-nextest" cargo install cargo-nextest --locked \
	    || echo "cargo-nextest cannot be installed: cargo's own test runner is used" >&2; \
	fi
	@if [ "$$(id -u)" -eq 0 ]; then $(image); \
	else echo "not root: the tests on real containers say so and are left out" >&2; fi
	@if cargo nextest --version >/dev/null 2>&1; then \
	  $(step) "the tests" cargo nextest run --workspace; \
	else \
	  $(step) "the tests" cargo test --workspace; \
	fi

matrix: deps-test build ## strike every call of up and teardown by every fault, on the local cloud as other clouds
	@$(step) "the matrices (as root)" cargo test --workspace --test it -- --include-ignored --test-threads 1 --nocapture --skip on_moto matrix::

lint: deps-test build ## rustfmt, clippy with warnings denied, shellcheck, cloud-init schema
	@$(step) "rustfmt" cargo fmt --all --check
	@$(step) "clippy" cargo clippy --workspace --all-targets -- -D warnings
	@$(step) "shellcheck" shellcheck $(shell_scripts)
	@$(step) "cloud-init schema" scripts/check-user-data.sh

deps: ## install the Debian packages that running needs
	@$(step) "packages for running" scripts/install-packages.sh run

deps-test: ## install the Debian packages that running and testing need
	@$(step) "packages for running and testing" scripts/install-packages.sh test

image: build ## build the VM image of the local cloud (once; it is cached)
	@$(image)

bench: build image ## measure what the README claims
	@for harness in bench/*.sh; do $(step) "$$harness" scripts/as-root.sh "the local cloud" "$$harness"; done
