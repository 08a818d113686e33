# The commands of this project. `make` lists them.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup dev demo test soak bench check format release clean

SWIFT_BUILD := swift build --static-swift-stdlib

help: ## Lists the commands
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand --tabs=18

setup: ## Installs the Debian packages that are missing
	@scripts/install-packages build

dev: setup ## Builds and runs the whole platform on http://localhost:8787
	@scripts/make-dev-vars
	$(SWIFT_BUILD) --product edge
	exec .build/debug/edge dev

demo: ## Walks register, login, create, upload, analytics against a running `make dev`
	@python3 scripts/demo.py $(DEMO_URL)

test: ## Installs what is missing, builds everything, runs all tests
	@scripts/install-packages build test
	@scripts/test

soak: ## As the tests of cutovers, a thousand of them (about an hour)
	@scripts/soak

bench: ## Prints the benchmark table (installs the peers it measures against)
	@scripts/install-packages build bench
	@scripts/bench

check: setup ## Format, warnings as errors, arrows between rooms, one owner per C module
	@scripts/check

format: ## Formats all sources
	@swift format --in-place --recursive --parallel Package.swift Sources Tests Examples

release: setup ## Optimised executables with the Swift runtime linked in, in .build/release
	@$(SWIFT_BUILD) -c release 2>&1 | { grep --invert-match 'better use `mkstemp' || true; } # Said of the toolchain's own library.

clean: ## Removes what was built; state/ stays
	@rm -rf .build
