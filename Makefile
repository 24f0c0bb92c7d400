# `make help` lists the targets. Each installs what it needs (`make deps` for system packages).
SHELL := /bin/bash
.DEFAULT_GOAL := help
GKM_CACHE ?= $(HOME)/.cache/gkm
UV_VERSION := 0.13.8
UV := $(or $(shell command -v uv),$(GKM_CACHE)/uv-$(UV_VERSION)/bin/uv)
RUN := $(UV) run --frozen --no-sync
VENV := .venv/.stamp
KERNELS := .venv/.kernels
PYTEST := $(RUN) pytest
export GKM_CACHE
unexport VIRTUAL_ENV

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z0-9%-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: deps
deps: ## Install the system packages that the cluster needs (Debian, root), or say what is missing
	@bash hack/deps.sh

$(UV):
	python3 -m venv $(GKM_CACHE)/uv-$(UV_VERSION)
	$(GKM_CACHE)/uv-$(UV_VERSION)/bin/pip install --quiet uv==$(UV_VERSION)

$(VENV): pyproject.toml uv.lock | $(UV)
	$(UV) sync --quiet --frozen --all-extras --inexact
	@touch $@

$(KERNELS): $(VENV)
	$(UV) sync --quiet --frozen --all-extras --group kernels
	@touch $@

.PHONY: venv
venv: $(VENV) ## Make the virtual environment .venv from the lock file

.PHONY: test
test: lint unit extract faults e2e ## Run every test: linters, fast tests, hostile images, faults, and the end-to-end suite on a real cluster

.PHONY: unit
unit: $(VENV) ## Run the fast tests only
	$(PYTEST) tests/unit tests/golden tests/http

.PHONY: extract
extract: deps $(VENV) ## Bring hostile and honest images to volumes, through bad registries; kill the program on its way
	$(PYTEST) tests/extract -s

.PHONY: e2e
e2e: deps $(KERNELS) ## Run the end-to-end suite on a cluster of its own, or on KUBECONFIG=FILE
ifeq ($(origin KUBECONFIG),command line)
	$(PYTEST) tests/e2e --kubeconfig $(KUBECONFIG) $(E2E_ARGS)
else
	$(RUN) python -m tests.cluster build
	$(RUN) python -m tests.cluster image
	$(PYTEST) tests/e2e $(E2E_ARGS)
endif

.PHONY: extract-all
extract-all: deps $(VENV) ## The same with the images that take minutes, and at each of its system calls (an hour)
	$(PYTEST) tests/extract -s -m "slow or not slow"

.PHONY: faults
faults: deps $(VENV) ## Kill every program at a sample of its writes, and let the API server misbehave
	$(RUN) python -m tests.cluster build
	$(PYTEST) tests/faults -s

.PHONY: faults-all
faults-all: deps $(VENV) ## Kill each at every write, in every workload; replace leaders; let every trouble last (5 hours)
	$(RUN) python -m tests.cluster build
	$(RUN) python -m tests.faults all
	$(PYTEST) tests/faults -s -m "slow or not slow"

.PHONY: lint
lint: $(VENV) ## Check style, types and layers
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports

.PHONY: format
format: $(VENV) ## Format the code
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

.PHONY: crds
crds: $(VENV) ## Generate crds/ and the chart's copies from gkm/api
	$(RUN) python -m gkm.api.crd crds charts/gkm/crds

.PHONY: verify
verify: crds ## Fail if anything generated differs from what is checked in
	$(UV) lock --check
	git diff --exit-code -- crds charts uv.lock
	@test -z "$$(git status --porcelain -- crds charts)" || { git status --short -- crds charts; exit 1; }

.PHONY: image
image: deps $(VENV) ## Build the container image
	$(RUN) python -m tests.cluster image

.PHONY: bench-cluster
bench-cluster: deps $(KERNELS) ## Measure how long Caches take on a real cluster (BENCH_ARGS="--runs 5")
	$(RUN) python -m tests.cluster build
	$(RUN) python -m tests.cluster image
	$(RUN) python -m tests.bench.cluster $(BENCH_ARGS)

.PHONY: bench-webhook
bench-webhook: $(VENV) ## Measure what a review costs: our webhook, kopf's, and one in Go (BENCH_ARGS="--runs 5")
	$(RUN) python -m tests.bench.webhook $(BENCH_ARGS)

.PHONY: bench-herd
bench-herd: deps $(VENV) ## Measure whether a bad Cache, registry, namespace or node slows 200 good Caches
	$(RUN) python -m tests.cluster build
	$(RUN) python -m tests.bench.herd $(BENCH_ARGS)

.PHONY: bench-extract
bench-extract: $(VENV) ## Measure how long a layer of 1 GB takes: GKM, tar, tarfile, and Go (BENCH_ARGS="--rounds 5")
	$(RUN) python -m tests.bench.extract $(BENCH_ARGS)

.PHONY: bench-pack
bench-pack: $(VENV) ## Measure how long packing 1 GB takes: GKM, tar with gzip, tar with zstd (BENCH_ARGS="--rounds 5")
	$(RUN) python -m tests.bench.pack $(BENCH_ARGS)

.PHONY: fuzz-webhook
fuzz-webhook: $(VENV) ## Send 100,000 odd and hostile reviews to the webhook: none may bring out a fault
	$(RUN) python -m tests.reviews 100000

.PHONY: fuzz-extract
fuzz-extract: $(VENV) ## Extract archives that were changed at random, for 30 minutes (FUZZ_ARGS="--minutes 5 --seed 1")
	$(RUN) python -m tests.extract.fuzz $(FUZZ_ARGS)

.PHONY: demo
demo: deps $(KERNELS) ## Start a cluster, install GKM, bring a real Triton cache to a pod: HIT or MISS
	$(RUN) python -m tests.demo up

.PHONY: demo-down
demo-down: $(VENV) ## Take the demo's cluster away
	$(RUN) python -m tests.demo down

.PHONY: clean
clean: ## Remove the virtual environment and caches of tools
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .demo
