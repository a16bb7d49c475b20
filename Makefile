# Everything here needs Go (and make), nothing else. What a test needs beyond
# that it asks for by name, and it is skipped where that is missing;
# BAKE_REQUIRE_ALL=1 makes it fail instead.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
TESTS   ?= ./...
TIMEOUT ?= 20m
FUZZTIME ?= 5m

# A static binary: it runs everywhere, also as the built-in base image.
export CGO_ENABLED ?= 0

.PHONY: all build install cross demo demo-ami demo-release test race lint check bench fuzz clean

all: build

build: ## bin/bake
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/bake ./cmd/bake

install: ## bake into $GOBIN
	$(GO) install -trimpath -ldflags '$(LDFLAGS)' ./cmd/bake

cross: ## bake builds for macOS too
	GOOS=darwin $(GO) build -o /dev/null ./cmd/bake

demo: build ## bake an image with the embedded engine: no Docker, no network
	@testdata/demo/run bin/bake dist/demo

demo-ami: build ## bake an AMI, share it and start an instance, on a local AWS: no Docker, no account
	@testdata/demo-ami/run bin/bake dist/demo-ami

demo-release: build ## build, push to ECR and deploy on ECS, on a local AWS: no Docker, no account
	@testdata/demo-release/run bin/bake dist/demo-release

test: ## all tests
	$(GO) test -timeout $(TIMEOUT) $(TESTS)

race: ## all tests with the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -timeout $(TIMEOUT) $(TESTS)

lint: ## gofmt, go vet, staticcheck
	@unformatted=$$("$$($(GO) env GOROOT)/bin/gofmt" -l $(wildcard cmd builder steps provisioners templates internal testdata)); \
	if [ -n "$$unformatted" ]; then echo "gofmt these:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

check: lint test

bench: build ## bake beside its peers: a table, and dist/bench.json (BENCH='-quick -only push')
	$(GO) run ./internal/bench -bake bin/bake -json dist/bench.json $(BENCH)

fuzz: ## the template parser, for FUZZTIME
	$(GO) test -run '^$$' -fuzz Fuzz -fuzztime $(FUZZTIME) ./templates

clean:
	rm -rf bin dist
