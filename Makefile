# `make` prints every target. Lines of the form `name: ## text` and `## @category` below are what it prints.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# Each fuzz target runs this many inputs. A count, not a duration: up to Go 1.26 a duration that ends
# while a worker is busy may be reported as a failure (golang/go#75804), and a count is the same work on a slow machine.
FUZZTIME ?= 20000x
# A test whose requirement is named here fails where it would otherwise skip: a skip in CI is a failure.
REQUIRE ?= $(if $(CI),netns nodes chromium)
export REQUIRE
# What tests and generators need of Debian, by package name; make deps installs what is missing.
DEBIAN := chromium clang-14 conntrack iproute2 iptables jq libbpf-dev linux-libc-dev llvm-14 nftables

# Linters and generators are dependencies of tools/go.mod, pinned there, built by the go command when first used.
TOOL := $(GO) tool -modfile=$(CURDIR)/tools/go.mod
# Modules beside the root. e2e/binaries and tools only pin dependencies: they hold no package.
MODULES := . $(patsubst %/go.mod,%,$(filter-out e2e/binaries/go.mod,$(wildcard e2e/go.mod e2e/*/go.mod release/go.mod)))
BINARIES := $(notdir $(wildcard cmd/*))
LDFLAGS := -s -w -X main.version=$(VERSION)
RACE ?= -race

## @category Everyday

.PHONY: help
help: ## Show this list.
	@awk 'BEGIN {FS = ":.*## "} \
		/^## @category / {printf "\n%s\n", substr($$0, 14)} \
		/^[a-zA-Z0-9_%-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: $(addprefix build-,$(BINARIES)) ## Build the static binaries into bin/.

build-%:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/$* ./cmd/$*

.PHONY: demo
demo: ## Play the story of the README on a real API server and, as root on Linux, two real nodes; about 15 minutes the first time.
	$(GO) -C e2e run ./cmd/demo

## @category Tests

# -count=1 where tests read files of another module, the chart and the programs: the go command does not see those
# change, and would show an old result.

.PHONY: deps
deps: ## Install the Debian packages that the tests use, where they are missing and one is root; else name them.
	@missing=$$(for p in $(DEBIAN); do dpkg-query -W -f '$${Status}' "$$p" 2>/dev/null | grep -q 'ok installed' || echo "$$p"; done); \
	[[ -n "$$missing" ]] || exit 0; \
	if [[ $$(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then echo "not installed, tests that need them are skipped:" $$missing; exit 0; fi; \
	export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing

.PHONY: test
test: deps test-unit test-chart fuzz e2e test-release ## Run every test that CI runs; about 20 minutes the first time, a few after.

.PHONY: test-unit
test-unit: ## Run the tests of the product's own module, the import law among them, with the race detector.
	$(GO) test $(RACE) ./...

.PHONY: test-chart
test-chart: ## Render the chart with the Helm library and check what comes out.
	$(GO) -C e2e/chart test -count=1 ./...

.PHONY: e2e
e2e: ## Run the tests on a real control plane, which is built from Go modules the first time.
	$(GO) -C e2e run ./cmd/controlplane build
	$(GO) -C e2e test -count=1 -timeout 80m -p 2 ./...
	$(GO) -C e2e/selectorbench test ./...

.PHONY: drills
drills: ## Play the failure drills on the real API server, and print what each lost.
	$(GO) -C e2e test -v -count=1 -timeout 10m ./drills

.PHONY: e2e-skew
e2e-skew: ## Run the admission tests and the drills on API servers one minor version older and newer; builds both the first time.
	@for skew in older newer; do export SAGUARD_CONTROLPLANE=skew/$$skew; \
		$(GO) -C e2e run ./cmd/controlplane build; \
		$(GO) -C e2e test -count=1 -timeout 60m -p 1 ./admission ./policies ./safetynet ./certificates ./helmtest ./drills; \
	done

.PHONY: test-release
test-release: ## Make a release of stand-ins for every platform, twice, and the webhook's image, and look into both.
	$(GO) -C release test -count=1 ./...

.PHONY: fuzz
fuzz: ## Run each fuzz target for some seconds (FUZZTIME=20000x or a duration).
	@grep -rHoE '^func Fuzz[A-Za-z0-9_]*' --include='*_test.go' $(filter-out .,$(wildcard api audit authz enforce internal policy rbac webhook)) \
	| while IFS=: read -r file func; do \
		echo "fuzz $${func#func } in $$(dirname "$$file")"; \
		$(GO) test -run '^$$' -fuzz "^$${func#func }\$$" -fuzztime $(FUZZTIME) "./$$(dirname "$$file")"; \
	done

.PHONY: bench
bench: ## Run the benchmarks; each prints a ratio to a baseline of the same run.
	$(GO) test -run '^$$' -bench . -benchmem $(shell grep -rlE '^func Benchmark' --include='*_test.go' api audit authz enforce internal policy rbac webhook 2>/dev/null | xargs -r -n1 dirname | sort -u | sed 's|^|./|')
	$(GO) -C e2e test -timeout 80m -run '^$$' -bench . ./bench
	$(GO) -C e2e/selectorbench test -run '^$$' -bench . ./...

.PHONY: bench-compile
bench-compile: ## Measure the policy compiler: WORLD=FILE.jsonl[.gz] with one Kubernetes object a line, NODE=node-local.
	@$(GO) run ./policy/compile/benchcompile -world '$(WORLD)' -node '$(or $(NODE),node-local)'

.PHONY: bench-node
bench-node: ## Measure enforcement on this kernel, as root: processor time of packets, event to kernel, memory. ARGS=flags.
	@bin=$$(mktemp); trap 'rm -f "$$bin"' EXIT; $(GO) build -o "$$bin" ./enforce/benchnode && "$$bin" $(ARGS)

## @category Code

.PHONY: generate
generate: ## Write all generated files: deep copies, CRDs, Calico's CRDs for the tests, the BPF program, the chart's README and schema, docs/reference. Floats because Calico's order is one.
	$(GO) generate ./enforce/bpf
	$(TOOL) controller-gen object paths=./api/... crd:allowDangerousTypes=true output:crd:dir=charts/saguard/files/crds
	$(GO) -C e2e/chart run ./cmd/schema '$(CURDIR)/charts/saguard'
	$(TOOL) helm-docs --chart-search-root charts/saguard --sort-values-order file --log-level warning
	@crds=$$(mktemp -d); trap 'rm -rf "$$crds"' EXIT; \
	$(TOOL) controller-gen crd:allowDangerousTypes=true paths=github.com/projectcalico/api/pkg/apis/projectcalico/v3 output:crd:dir="$$crds"; \
	$(GO) -C e2e run ./cmd/calicocrds "$$crds" testdata/calico-crds
	$(GO) -C e2e run ./cmd/reference

.PHONY: verify
verify: verify-generate verify-modules ## Check that generated files and module files are current; never writes to the checkout.

.PHONY: verify-generate
verify-generate:
	@work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; mkdir "$$work/before"; \
	git ls-files -coz --exclude-standard | while IFS= read -r -d '' f; do [[ ! -e "$$f" ]] || printf '%s\0' "$$f"; done \
		| tar -c --null -T - | tar -x -C "$$work/before"; \
	cp -a "$$work/before" "$$work/after"; \
	$(MAKE) -s --no-print-directory -C "$$work/after" generate; \
	diff -ru "$$work/before" "$$work/after" || { echo 'generated files are out of date: run make generate' >&2; exit 1; }

.PHONY: verify-modules
verify-modules:
	@for dir in $(MODULES); do $(GO) -C "$$dir" mod tidy -diff || { echo "$$dir/go.mod is out of date: run go -C $$dir mod tidy" >&2; exit 1; }; done

.PHONY: lint
lint: ## Run the linters over every module; needs no network once the modules are downloaded.
	@failed=; for dir in $(MODULES); do echo "lint $$dir"; (cd "$$dir" && $(TOOL) golangci-lint run --config '$(CURDIR)/.golangci.yml' ./...) || failed="$$failed $$dir"; done; \
	[[ -z "$$failed" ]] || { echo "findings in:$$failed" >&2; exit 1; }

## @category Install

.PHONY: image
image: ## Build the images saguard/webhook and saguard/agent with docker.
	docker build --target webhook --build-arg VERSION=$(VERSION) -t saguard/webhook:$(VERSION) .
	docker build --target agent --build-arg VERSION=$(VERSION) -t saguard/agent:$(VERSION) .

# A version that somebody gives; else that of the commit, which git describe does not spell as a version should be.
RELEASE := $(if $(filter-out file,$(origin VERSION)),-version '$(VERSION)')

.PHONY: release
release: ## Build what is published of HEAD into dist/: binaries, images, chart, bills of materials, sums. VERSION=vX.Y.Z, or its tag.
	rm -rf dist
	$(GO) -C release run ./cmd/release make -repo '$(CURDIR)' $(RELEASE) '$(CURDIR)/dist'

.PHONY: verify-release
verify-release: ## Build the release of HEAD twice, in two folders with two build caches, and compare every byte; about 20 minutes.
	@work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; $(GO) -C release build -o "$$work/release" ./cmd/release; \
	for i in first second; do \
		mkdir -p "$$work/$$i/tmp"; \
		GOCACHE="$$work/$$i/cache" TMPDIR="$$work/$$i/tmp" "$$work/release" make -repo '$(CURDIR)' $(RELEASE) "$$work/$$i/dist"; \
	done; \
	"$$work/release" same "$$work/first/dist" "$$work/second/dist"; cat "$$work/first/dist/SHA256SUMS"

.PHONY: chart
chart: ## Print the manifests of the chart with its default values.
	@$(GO) -C e2e/chart run ./cmd/render --chart ../../charts/saguard --namespace saguard-system

.PHONY: clean
clean: ## Remove what the targets above built.
	rm -rf bin dist
