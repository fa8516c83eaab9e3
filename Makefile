# The front door. `make` prints what there is.

SHELL := /bin/bash
SWIFT_FLAGS := --explicit-target-dependency-import-check error
TEST_FLAGS := $(SWIFT_FLAGS) --enable-code-coverage
RELEASE_FLAGS := $(SWIFT_FLAGS) -c release --static-swift-stdlib

.DEFAULT_GOAL := help
.PHONY: help install run build test check format lint hooks docs model services services-stop crash-test chaos bench clean

help: ## Print this.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: ## Install the Debian packages that building needs.
	@scripts/install.sh build

build: install ## Build the release binary, .build/release/sba.
	swift build $(RELEASE_FLAGS) --product sba

run: build ## Build, then serve on embedded SQLite with a first account and the project's documents as knowledge.
	SBA_SAMPLE_KNOWLEDGE=$${SBA_SAMPLE_KNOWLEDGE-docs} .build/release/sba serve

test: ## Install what is missing and run every test.
	@scripts/install.sh test
	@scripts/venv.sh agui model contract schemathesis
	swift build --build-tests $(TEST_FLAGS)
	@scripts/services.sh run scripts/test.sh --skip-build $(TEST_FLAGS)

check: lint test ## Format, warnings as errors, tests, coverage and contract: what CI runs.
	@scripts/coverage.sh
	@.tools/contract/bin/python -m openapi_spec_validator openapi.yaml
	@.tools/contract/bin/python scripts/api_docs.py --check
	@.tools/schemathesis/bin/python scripts/schemathesis.py .build/debug/sba
	@.build/debug/sba config --markdown | diff -u docs/configuration.md - \
		|| { echo "docs/configuration.md is old: make docs"; exit 1; }
	@scripts/counts.sh

lint: ## Check the format.
	swift format lint --strict --parallel --recursive Package.swift Sources Tests Benchmarks

format: ## Format the code.
	swift format --in-place --parallel --recursive Package.swift Sources Tests Benchmarks

hooks: ## Format before each commit.
	git config core.hooksPath scripts/hooks

docs: ## Make docs/api.md and what /docs shows from openapi.yaml, and docs/configuration.md from the declarations.
	@scripts/venv.sh contract
	.tools/contract/bin/python scripts/api_docs.py
	swift build $(TEST_FLAGS) --product sba
	.build/debug/sba config --markdown > docs/configuration.md

model: ## Run a real small language model (SmolLM2-135M) behind an OpenAI-compatible API on port 8081.
	@scripts/install.sh build
	@scripts/venv.sh model
	.tools/model/bin/python scripts/model_server.py --port 8081

services: ## Start PostgreSQL 18, PostgreSQL 15 with TLS and PgBouncer for the tests; prints their addresses.
	@scripts/install.sh test
	@scripts/services.sh start
	@scripts/services.sh env

services-stop: ## Stop them and remove their data.
	@scripts/services.sh stop

crash-test: ## Kill the server 100 times during runs and count what was lost.
	@scripts/install.sh test
	swift build --build-tests $(TEST_FLAGS)
	SBA_TEST_KILLS=100 scripts/services.sh run swift test --skip-build --disable-xctest $(TEST_FLAGS) --filter CrashTests

chaos: ## Break what the server stands on, 10 rounds of each fault and 1,000 kills, and count what was lost.
	@scripts/install.sh test
	swift build --build-tests $(TEST_FLAGS)
	SBA_TEST_ROUNDS=10 SBA_TEST_WORKER_KILLS=1000 scripts/services.sh run \
		swift test --skip-build --disable-xctest $(TEST_FLAGS) --no-parallel --filter ChaosTests

bench: build ## Measure against the peers; prints the figures of docs/benchmarks.md.
	@scripts/install.sh bench
	swift build $(RELEASE_FLAGS) --product StorageBench
	@Benchmarks/run.sh

clean: ## Remove what was built. Installed tools stay.
	rm -rf .build
