# carecircle's build. "make" lists what it can do; "make test" is all that CI runs.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules
.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Settings, as in "make sim SEEDS=5000".
SEEDS ?= 2000
FUZZTIME ?= 30s
BENCH ?= .
SOAK ?= Soak
MINUTES ?= 10
TIMEOUT ?= 25m

GO ?= go
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unversioned)
GOBUILD := $(GO) build -trimpath -buildvcs=false

# $(call stage,heading,command) runs the command under a heading and says how long it took.
stage = @printf '\n=== %s\n' '$(1)'; began=$$SECONDS; { $(2); }; \
	printf -- '--- %s: %d s\n' '$(1)' $$((SECONDS - began))

# How to look through our test files.
SEARCH := grep -rE --include='*_test.go' --exclude-dir=node_modules --exclude-dir=tools

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t18
	@echo "  Settings: SEEDS=$(SEEDS) FUZZTIME=$(FUZZTIME) BENCH=$(BENCH) SOAK=$(SOAK) MINUTES=$(MINUTES)" \
		"TIMEOUT=$(TIMEOUT)"

# --- What the machine must have ----------------------------------------------------------------------------

# Program and the Debian package it comes in: a browser for the page tests, two accounting programs that
# check our books with eyes of their own, a C compiler for the race detector, Prometheus' and systemd's own
# checks of what deploy holds; strace, which makes system calls fail; what makes networks with faults.
NEEDS := chromium:chromium hledger:hledger bean-check:beancount gcc:gcc promtool:prometheus \
	systemd-analyze:systemd strace:strace ip:iproute2 nft:nftables

.PHONY: deps
deps: ## install what the tests need and the machine lacks (Debian, as root)
	@missing=; packages=; \
	for need in $(NEEDS); do \
		command -v "$${need%%:*}" >/dev/null && continue; \
		missing+=" $${need%%:*}"; packages+=" $${need##*:}"; \
		case $$need in chromium:*) packages+=' fonts-liberation' ;; gcc:*) packages+=' libc6-dev' ;; esac; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "The tests need these programs, which are not here:$$missing." >&2; \
		echo "Install them; on Debian, as root: apt-get install$$packages" >&2; \
		exit 1; \
	fi; \
	echo "Installing$$packages"; export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq; apt-get install -y -qq --no-install-recommends $$packages >/dev/null

# --- Building ----------------------------------------------------------------------------------------------

WEB := node/web/assets
WEB_SOURCES := $(shell find $(WEB) -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)

# npm writes .package-lock.json at the end of every install: its age is the install's.
$(WEB)/node_modules/.package-lock.json: $(WEB)/package-lock.json
	@command -v npm >/dev/null \
		|| { echo "The pages' styles and scripts need Node 20 with npm: install it." >&2; exit 1; }
	cd $(WEB) && npm ci --no-audit --no-fund
	@touch $@

$(WEB)/dist/manifest.json: $(WEB)/node_modules/.package-lock.json $(WEB_SOURCES)
	$(GO) run ./$(WEB)/build
	@touch $@

.PHONY: assets
assets: $(WEB)/dist/manifest.json ## build the pages' styles, scripts, fonts and icons

.PHONY: build
build: assets ## build bin/carecircle
	$(GOBUILD) -ldflags '-X main.version=$(VERSION)' -o bin/carecircle ./cmd/carecircle

.PHONY: demo
demo: build ## run a federation of example circles on this machine
	bin/carecircle demo

# --- Checking ----------------------------------------------------------------------------------------------

bin/gofumpt: PACKAGE := mvdan.cc/gofumpt
bin/staticcheck: PACKAGE := honnef.co/go/tools/cmd/staticcheck
bin/golangci-lint: PACKAGE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
TOOLS := bin/gofumpt bin/staticcheck bin/golangci-lint

$(TOOLS): tools/go.mod tools/go.sum
	cd tools && $(GOBUILD) -o ../bin/ $(PACKAGE)
	@touch $@

GOFILES = $$(find . -name '*.go' -not -path '*/node_modules/*' -not -path './tools/*')

.PHONY: lint
lint: assets $(TOOLS) ## check the source: house rules, gofumpt, vet, staticcheck, golangci-lint
	$(call stage,house rules,$(GO) run ./cmd/tidy)
	$(call stage,gofumpt,bad=$$(bin/gofumpt -l $(GOFILES)); [ -z "$$bad" ] \
		|| { echo "Not formatted; run bin/gofumpt -w on:" $$bad >&2; exit 1; })
	$(call stage,go vet,$(GO) vet ./...)
	$(call stage,staticcheck,bin/staticcheck ./...)
	$(call stage,golangci-lint,bin/golangci-lint run ./...)

# Where goroutines meet. Race tests take a C compiler and several times as long, so models get fewer rounds,
# and browsers and the longest stories, which "unit" has, are left out.
CONCURRENT := federation/p2p node node/api node/auth node/gossip node/peers node/replica node/web
# Of the stores only what runs beside each other: their tests of damage take minutes under the detector.
STORE_RACES := Readers|Beside|Flush|Cache|WriteBehind
RACED := $(foreach dir,$(CONCURRENT),$(if $(wildcard $(dir)/*_test.go),./$(dir)))

.PHONY: unit
unit: assets ## run every test
	$(call stage,tests,$(GO) test -timeout $(TIMEOUT) ./...)

.PHONY: race
race: assets ## run the tests of the concurrent packages under the race detector
	$(call stage,race detector,CGO_ENABLED=1 $(GO) test -race -short -timeout $(TIMEOUT) $(RACED))
	$(call stage,race detector on the stores,CGO_ENABLED=1 $(GO) test -race -short -timeout $(TIMEOUT) \
		-run '$(STORE_RACES)' ./node/store)

.PHONY: sim
sim: build ## play SEEDS histories of a whole federation, with faults
	$(call stage,$(SEEDS) histories,bin/carecircle sim --seeds $(SEEDS) -o json)

.PHONY: mutations
mutations: build ## switch each rule between circles off, and count the histories until it is noticed
	bin/carecircle sim --mutate all --seeds 20000

.PHONY: test
test: deps build lint unit sim race ## all that CI runs: build, lint, tests, simulation, race detector

.PHONY: fuzz
fuzz: ## run every fuzz test for FUZZTIME
	@$(SEARCH) -o '^func Fuzz\w+' . \
	| sort | while IFS=: read -r file name; do \
		name=$${name#func }; dir=$$(dirname "$$file"); printf '\n=== %s in %s\n' "$$name" "$$dir"; \
		$(GO) test "$$dir" -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) </dev/null; \
	done

MEASURED = $$($(SEARCH) -l '^func Benchmark' . | xargs -n1 dirname | sort -u)

.PHONY: bench
bench: build ## measure: Go benchmarks, then the running program
	$(call stage,benchmarks,$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem $(MEASURED))
	$(call stage,one replica,bin/carecircle bench ledger --seconds 3)
	$(call stage,three replicas,for clients in 1 16 256; do \
		bin/carecircle bench ledger --replicas 3 --clients $$clients --seconds 3 -o csv; done)
	$(call stage,three replicas in bulk,\
		bin/carecircle bench ledger --replicas 3 --clients 8 --batch 1000 --seconds 3)
	$(call stage,the plain way,\
		bin/carecircle bench ledger --replicas 3 --clients 64 --seconds 3 --baseline -o csv)
	$(call stage,clearing,bin/carecircle bench clearing -o csv)
	$(call stage,between circles,bin/carecircle bench exchange -o json)
	$(call stage,search,bin/carecircle bench search -o json)

.PHONY: soak
soak: build ## run the long tests of the real program; those under fire last MINUTES each
	$(GO) test ./cmd/carecircle -run '$(SOAK)' -count=1 -timeout 0 -v -args -soak -minutes=$(MINUTES)

.PHONY: clean
clean: ## remove what was built; what npm fetched stays
	rm -rf bin
	find $(WEB)/dist -mindepth 1 -not -name .keep -delete
