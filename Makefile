# What can be done with this tree. `make` alone explains it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Sizes of the demo.
TENANTS ?= 5
DOCS ?= 2000
# ARGS of the robustness run.
ARGS ?= --length 3m
# KEEP=1 leaves the demo's servers running.
KEEP ?=

BUILD := build -trimpath -o bin/tms ./cmd/tms
LINT := go tool -modfile=tools/lint/go.mod golangci-lint
STACK := go run ./internal/devstack/cmd/withstack

# Packages in which several goroutines or processes meet: these run under the
# race detector too. It multiplies run time, so pure logic is left out.
RACE := ./cmd/... ./server/... ./tenants/... ./db/... ./upgrader/... ./internal/archtest

# Upgrades on a real engine in which copies share most: also under the race
# detector, which -short leaves out.
RACING := TestRoutedDocuments|TestDocumentsGoByTheirDate|TestRollbackLosesNothing

.PHONY: help demo setup test check lint generate bench robustness build clean race

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup build ## Upgrade a fleet that is written to, and judge the outcome (TENANTS=5 DOCS=2000 KEEP=1)
	bin/tms demo --tenants $(TENANTS) --docs $(DOCS) $(if $(KEEP),--keep)

test: setup check ## Everything: generated code, lint, tests on real servers, race detector
	$(STACK) -- $(MAKE) --no-print-directory gotest

.PHONY: gotest
gotest:
	go test -timeout 15m ./...
	go test -race -short -timeout 10m $(RACE)
	go test -race -timeout 10m -run '$(RACING)' ./upgrader

race: setup ## Only the run under the race detector
	$(STACK) -- go test -race -short -timeout 10m $(RACE)

check: ## Generated code is current, go vet, linters, the structure
	scripts/check-generated.sh
	go vet ./...
	$(LINT) run ./...
	go test ./internal/archtest

lint: ## Linters only
	$(LINT) run ./...

generate: ## Generate Go, gateway and OpenAPI from proto/
	scripts/generate.sh

bench: setup ## Ratios to bare engine calls and bare RPCs; docs/benchmarks.md says how to read them
	go run ./bench/check
	go run ./bench/registry
	go run ./bench/fleet
	go run ./bench/verify
	go run ./bench/restore

robustness: setup ## Upgrades while everything fails, judged by a model (ARGS="--seed 7 --length 10m"); docs/robustness.md
	go run ./robustness $(ARGS)

build: ## bin/tms
	go $(BUILD)

setup: ## Install what demo and tests need (Debian, as root), or say what is missing
	scripts/setup.sh

clean: ## Remove what was built here
	rm -rf bin
