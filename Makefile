# `make help` lists the targets. What they need is fetched into .tools/ by scripts/tools.sh.

.DEFAULT_GOAL := all
.NOTPARALLEL:
.DELETE_ON_ERROR:

CARGO ?= cargo
PYTHON ?= python3
COMPOSE ?= docker compose
# Of compose.yaml: alpaca, or sim.
PROFILE ?= alpaca
REVISION = $(shell git rev-parse --short HEAD 2>/dev/null)
TOOLS := scripts/tools.sh
SHELL_FILES := scripts/tools.sh scripts/nats/init.sh scripts/nats/positions.sh .ci/run
export PYTHON

.PHONY: all
all: build ## Same as build

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the program, optimized: target/release/nalpaca
	NALPACA_REVISION=$(REVISION) $(CARGO) build --release --locked

.PHONY: demo
demo: build ## Run NATS, a simulated Alpaca and the gateway together, no keys needed (ARGS="--help" for more)
	@server=$$($(TOOLS) which-nats) && PATH="$${server%/*}:$$PATH" target/release/nalpaca demo $(ARGS)

.PHONY: test
test: python-proto ## Run all tests, with real nats-servers
	$(TOOLS) test
	$(CARGO) test --locked

.PHONY: conformance
conformance: ## Run programs with the official SDKs against the simulator (needs go and node)
	$(TOOLS) conformance
	$(CARGO) build --locked
	$(PYTHON) tests/conformance/run.py

.PHONY: faults
faults: ## Break everything that can be broken, and judge what comes of it (about ten minutes; ARGS="mix --runs 100" for more)
	$(TOOLS) test
	NALPACA_REVISION=$(REVISION) $(CARGO) test --locked --features trial --test faults -- $(or $(ARGS),crash matrix mix feed feed-mix market market-mix wheel planted --short)

# Each call adds a report; what was cut short has one too. Call it again and again: the summary sums them up.
.PHONY: evidence
evidence: ## Run the long trials, keep a report in docs/evidence, and sum all reports up (RUNS=50, or SUITES="crash matrix planted")
	$(TOOLS) test
	NALPACA_REVISION=$(REVISION) $(CARGO) test --locked --features trial --test faults -- $(or $(SUITES),mix) --runs $(or $(RUNS),50) --jobs $(or $(JOBS),5) --evidence docs/evidence
	$(CARGO) test --locked --features trial --test faults -- --summarize docs/evidence

.PHONY: bench
bench: ## Measure what is shipped beside the least that could do its job (about ten minutes; ARGS="only 1 3" for some figures)
	$(TOOLS) test
	$(CARGO) bench --locked --profile dist --bench gateway -- $(ARGS)

.PHONY: bench-quick
bench-quick: ## The same in a minute, to see that nothing is far off
	$(MAKE) bench ARGS=quick

.PHONY: bench-market
bench-market: ## Measure market data at several rates and numbers of symbols beside the least that could do it
	$(MAKE) bench ARGS=latency

.PHONY: bench-record
bench-record: ## Take the result of `make bench` into docs/benchmarks.md
	$(CARGO) bench --locked --profile dist --bench gateway -- record

.PHONY: soak
soak: ## Orders, trade updates and trades for an hour, and whether memory stays flat (MINUTES=60)
	$(TOOLS) test
	$(CARGO) bench --locked --profile dist --bench gateway -- soak $(or $(MINUTES),60)

.PHONY: bench-sim
bench-sim: ## Measure the simulator: orders per second, market data per second
	$(CARGO) bench --locked --bench sim

.PHONY: check
check: fmt-check lock-check lint clippy deny doc test check-helm ## Everything CI asks for, cheap things first

.PHONY: fmt
fmt: ## Format the code
	$(CARGO) fmt --all

.PHONY: fmt-check
fmt-check:
	$(CARGO) fmt --all --check

# Fails when Cargo.lock does not fit Cargo.toml. The other steps may then work without asking the registry.
.PHONY: lock-check
lock-check:
	$(CARGO) fetch --locked

.PHONY: clippy
clippy: ## Lint the code
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --all-targets --features trial -- -D warnings

.PHONY: deny
deny: lock-check ## Check licences, bans and sources of the dependencies
	$(TOOLS) deny
	.tools/bin/cargo-deny --offline check --hide-inclusion-graph licenses bans sources

.PHONY: doc
doc: ## Build the code's documentation
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

.PHONY: lint
lint: ## Check the shell scripts, compose.yaml and the alerts
	$(TOOLS) lint
	.tools/bin/shellcheck $(SHELL_FILES)
	PYTHONPATH=.tools/lint $(PYTHON) scripts/lint_compose.py
	-$(TOOLS) promtool
	PYTHONPATH=.tools/lint $(PYTHON) scripts/lint_alerts.py

# Where Helm cannot be had, the chart goes unchecked and says so; CI insists.
.PHONY: check-helm
check-helm: ## Lint the chart, render it, hold the result against Kubernetes' schemas, and ask the daemon whether it takes its settings
	-$(TOOLS) helm
	$(PYTHON) scripts/helm_readme.py --check
	$(CARGO) build --locked
	NALPACA=target/debug/nalpaca PYTHONPATH=.tools/kubernetes $(PYTHON) scripts/check_helm.py

.PHONY: sbom
sbom: ## Write what is inside the program to dist/, in CycloneDX' form
	$(TOOLS) cyclonedx
	$(PYTHON) scripts/release.py sbom

.PHONY: chart
chart: ## Pack the Helm chart into dist/
	$(TOOLS) helm
	$(PYTHON) scripts/release.py chart

# What the release workflow does, for this machine, and nothing is published.
.PHONY: release-dry-run
release-dry-run: ## Make and check everything of a release for this machine: archive, SBOM, chart, sums, and the workflow itself
	rm -rf dist
	$(TOOLS) actionlint
	.tools/bin/actionlint -shellcheck .tools/bin/shellcheck .github/workflows/*.yaml
	$(PYTHON) scripts/release.py versions
	$(PYTHON) scripts/release.py archive
	$(MAKE) sbom chart
	$(PYTHON) scripts/release.py sums

.PHONY: helm-readme
helm-readme: ## Write helm/README.md from the comments in helm/values.yaml
	$(PYTHON) scripts/helm_readme.py

.PHONY: proto
proto: ## Record what proto/ promises in proto/descriptors.binpb, unless it breaks a promise
	NALPACA_BLESS=1 $(CARGO) test --locked --test it schema::

.PHONY: reference
reference: ## Write docs/reference from the code and proto/
	NALPACA_BLESS=1 $(CARGO) test --locked --test it reference::

.PHONY: transcripts
transcripts: ## Write tests/it/transcripts: every command as people see it
	NALPACA_BLESS=1 $(CARGO) test --locked --test it command_line::

.PHONY: python-proto
python-proto: ## Generate Python classes from proto/ into examples/python/gen
	$(TOOLS) python
	@mkdir -p examples/python/gen
	PYTHONPATH=.tools/python $(PYTHON) -m grpc_tools.protoc -I proto --python_out examples/python/gen --pyi_out examples/python/gen tradesvc/v0/tradesvc.proto tradesvc/v0/service.proto stream/v0/stream.proto

.PHONY: go-proto
go-proto: ## Generate Go types from proto/ into examples/go/gen
	$(TOOLS) python protoc-gen-go
	PYTHONPATH=.tools/python $(PYTHON) -m grpc_tools.protoc -I proto --plugin=protoc-gen-go=.tools/bin/protoc-gen-go \
		--go_out=examples/go --go_opt=module=nalpaca.example/client \
		--go_opt=Mtradesvc/v0/tradesvc.proto=nalpaca.example/client/gen/tradesvcpb \
		--go_opt=Mtradesvc/v0/service.proto=nalpaca.example/client/gen/tradesvcpb \
		--go_opt=Mstream/v0/stream.proto=nalpaca.example/client/gen/streampb \
		tradesvc/v0/tradesvc.proto tradesvc/v0/service.proto stream/v0/stream.proto

.PHONY: clients
clients: python-proto go-proto ## Build the example clients, and run each against the demo (needs go and node)
	$(TOOLS) nats
	mkdir -p .tools/clients
	cd examples/go && go vet ./... && go build -mod=readonly -trimpath -o ../../.tools/clients/go .
	cd examples/typescript && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && npm run --silent build
	$(CARGO) clippy --locked --manifest-path examples/rust/Cargo.toml --target-dir target/clients -- -D warnings
	$(CARGO) build --locked --manifest-path examples/rust/Cargo.toml --target-dir target/clients
	cp target/clients/debug/nalpaca-example .tools/clients/rust
	$(CARGO) build --locked
	$(PYTHON) examples/run.py --nats-server "$$($(TOOLS) which-nats)" $(ARGS)

.PHONY: documents
documents: python-proto ## Run every command of the documents against the demo (needs go)
	$(TOOLS) nats nats-cli
	$(CARGO) build --locked
	$(PYTHON) scripts/documents.py --nats-server "$$($(TOOLS) which-nats)" --nats "$$(command -v nats || echo .tools/bin/nats)" $(ARGS)

.PHONY: compose
compose: ## Build the image (needs docker)
	NALPACA_REVISION=$(REVISION) $(COMPOSE) --profile $(PROFILE) build

.PHONY: run-compose
run-compose: ## Run NATS and the gateway in the foreground, with keys from .env, or PROFILE=sim (needs docker)
	NALPACA_REVISION=$(REVISION) $(COMPOSE) --profile $(PROFILE) up --build

.PHONY: up
up: ## Start NATS alone in the background (needs docker)
	$(COMPOSE) up --detach --wait

.PHONY: down
down: ## Stop what compose started; NATS keeps its data (needs docker)
	$(COMPOSE) --profile alpaca --profile sim down

.PHONY: clean
clean: ## Remove what was built; .tools/ stays
	$(CARGO) clean
	rm -rf examples/python/gen dist
