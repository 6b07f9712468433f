# Run `make` alone for the targets. PORT, ADMIN_PORT, DATA_DIR, SEEDS, MUTANTS, SEED and WORKERS can be set on the command line.
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PROTOS := $(shell find protos/tokenline protos/etcdserverpb -name '*.proto' | sort)
PORT ?= 8080
ADMIN_PORT ?= 8081
DATA_DIR ?= $(HOME)/.tokenline
SEEDS ?= 200
MUTANTS ?= 1500
SEED ?= 1
# One more than processors, because many tests wait.
WORKERS ?= $(shell expr $$(nproc) + 1)

REGION ?= beijing
TOOLS := .tools
export PATH := $(CURDIR)/$(TOOLS):$(PATH)
# Byte code is kept, whatever the environment says: tests start hundreds of processes, and each would compile all of it anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: policy image up-cluster down-cluster test-cluster test-clients help setup run test test-fast simulate simulate-mutations mutations faults lint types generate verify publish lock format bench bench-peers clean mutate drill

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 27

setup: $(VENV)/.installed ## make .venv with everything, .venv/bin/tokenline in it

PIP = $(BIN)/pip --disable-pip-version-check install

# What running needs, some 270 MB; pip tells what it fetches.
$(VENV)/.runs: requirements.lock requirements-build.lock pyproject.toml
	@test -x $(BIN)/python || python3 -c 'import sys; v = sys.version_info; v[:2] == (3, 11) or sys.exit(f"Tokenline needs Python 3.11, and python3 is {v[0]}.{v[1]}: put python3.11 first in PATH as python3")'
	@test -x $(BIN)/python || { echo "python3 -m venv $(VENV)"; python3 -m venv $(VENV); } || { echo "python3 cannot make a virtual environment: apt-get install python3-venv"; exit 1; }
	$(PIP) --require-hashes -r requirements.lock -r requirements-build.lock
	$(PIP) --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# What development needs on top, some 900 MB.
$(VENV)/.installed: $(VENV)/.runs requirements-dev.lock
	$(PIP) --quiet --require-hashes -r requirements-dev.lock
	@touch $@

run: $(VENV)/.runs ## start everything on embedded defaults
	$(BIN)/tokenline up --port $(PORT) --admin-port $(ADMIN_PORT) --data-dir "$(DATA_DIR)"

test: setup $(TOOLS)/promtool ## run the tests, WORKERS at once
	$(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal

# What is pure and quick. A file that starts a server, or takes seconds, is left out by its name.
FAST := tests/edge/call tests/edge/dialects tests/edge/http tests/edge/routing tests/edge/vendors \
  tests/edge/test_problems.py tests/accounting tests/registry tests/documents tests/openapi/test_documents.py \
  tests/billing/test_cdr.py tests/vendor_simulator/test_completion.py tests/test_token_classes.py
NOT_FAST := tests/accounting/writer/test_owner.py tests/accounting/core/test_peers.py tests/accounting/core/test_properties.py \
  tests/accounting/cell/test_replicas.py tests/accounting/writer/test_low_water.py tests/accounting/writer/test_residency.py \
  tests/accounting/cell/test_rolling_update.py tests/accounting/rpc/test_servicer.py tests/documents/test_rejections.py \
  tests/edge/call/test_kept_limits.py \
  tests/registry/test_catalog_store.py tests/registry/test_layer_stores.py tests/registry/test_packs.py tests/registry/test_registry.py \
  tests/accounting/writer/test_transfers.py tests/accounting/writer/test_handing_over.py tests/accounting/writer/test_refusals.py \
  tests/accounting/journal/test_actors.py tests/accounting/core/test_lines.py tests/accounting/core/test_agents.py \
  tests/edge/call/test_garbage.py tests/edge/http/test_json_bounds.py tests/edge/dialects/test_anthropic_streams.py \
  tests/edge/dialects/test_vendor_streams.py tests/edge/dialects/test_metadata.py tests/accounting/core/test_amounts.py \
  tests/accounting/journal/test_pinned_journal.py

test-fast: setup ## run the tests of what is pure, in less than 40 s
	$(BIN)/pytest -q $(FAST) $(addprefix --ignore=,$(NOT_FAST))

image: ## build the image of all services, tokenline:development, with docker, podman or buildah (BASE=NAME: on another base)
	infra/build-image tokenline:development Dockerfile . $(ARCHIVE)

up-cluster: setup $(TOOLS)/helm ## install or upgrade the cell of REGION in the cluster of KUBECONFIG
	$(BIN)/python -m infra.cluster up $(REGION)

down-cluster: setup $(TOOLS)/helm ## remove all cells from the cluster of KUBECONFIG, with their data
	$(BIN)/python -m infra.cluster down

test-cluster: setup $(TOOLS)/helm ## test a cell in the cluster of KUBECONFIG; DELIVER_IMAGE is how an image gets there
	$(BIN)/pytest tests/cluster

test-clients: setup .clients/.installed ## test real clients, as their vendors publish them, against `tokenline up`; Node 20 and npm
	$(BIN)/pytest tests/clients

# What is installed runs as it came: no script of a package, and the programs of this platform from the packages that carry them.
# `npm ci` wants a lock of every platform's packages, and a registry need not serve those; `npm install` takes what is locked too.
.clients/.installed: tests/clients/.npmrc tests/clients/package.json tests/clients/package-lock.json tests/clients/requirements.lock \
  tests/clients/frameworks.lock tests/clients/llama_index.lock
	@command -v npm > /dev/null || { echo "npm is needed, of Node 20 or later: see https://nodejs.org"; exit 1; }
	@mkdir -p .clients
	cp $(filter-out %.lock,$^) .clients/
	cd .clients && npm install --no-save --ignore-scripts --no-audit --no-fund
	@test -x .clients/aider/bin/python || python3 -m venv .clients/aider
	.clients/aider/bin/pip install --quiet --disable-pip-version-check --require-hashes -r tests/clients/requirements.lock
	@test -x .clients/frameworks/bin/python || python3 -m venv .clients/frameworks
	.clients/frameworks/bin/pip install --quiet --disable-pip-version-check --require-hashes -r tests/clients/frameworks.lock
	@test -x .clients/llama_index/bin/python || python3 -m venv .clients/llama_index
	.clients/llama_index/bin/pip install --quiet --disable-pip-version-check --require-hashes -r tests/clients/llama_index.lock
	@touch $@

# Its dependencies go with nobody else's.
policy: .policy/.installed

.policy/.installed: infra/policy/requirements.lock
	@test -x .policy/bin/python || python3 -m venv .policy
	.policy/bin/pip install --quiet --disable-pip-version-check --require-hashes -r infra/policy/requirements.lock
	@touch $@

# The helm of the PATH, or one made here.
$(TOOLS)/helm: infra/tools/go.mod infra/tools/go.sum
	@mkdir -p $(TOOLS)
	@if helm=$$(PATH=$$(echo "$$PATH" | sed "s|$(CURDIR)/$(TOOLS):||") command -v helm); then ln -sf "$$helm" $@; \
	elif command -v go > /dev/null; then cd infra/tools && go build -o ../../$@ helm.sh/helm/v4/cmd/helm; \
	else echo "helm is needed, and neither it nor Go, to build it, is here: see https://helm.sh/docs/intro/install"; exit 1; fi

# Prometheus and promtool: those of the PATH, or Debian's, unpacked here without root. Where there are neither, tests that need them are skipped.
$(TOOLS)/promtool: infra/tools/prometheus
	@infra/tools/prometheus $(TOOLS) || echo "Prometheus is not to be had here: the tests that run rules in it are skipped"

simulate-mutations: setup ## plant known faults into the charging core; the simulator must notice each
	$(BIN)/python -m tests.simulation.mutations

mutations: setup ## plant known faults into all the rest, some twenty minutes, with go and node; the tests that each names must notice it
	$(BIN)/python -m tests.mutations

mutate: setup ## try MUTANTS mutants that a tool makes of the modules of money, drawn by SEED; at least 92 % must be noticed
	$(BIN)/python -m tests.mutations.sample --mutants $(MUTANTS) --seed $(SEED)

simulate: setup ## crash the charging core under SEEDS random schedules
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

faults: setup ## hurt a running cell in every way it must bear, under load, and count what was lost
	$(BIN)/python -m tests.faults

drill: setup $(TOOLS)/promtool ## plant faults into a cell that Prometheus watches; alerts and commands must find each within a minute; some ten minutes
	$(BIN)/python -m tests.faults.drill

lint: setup policy ## formatter, linter, import contracts, proto lint, scanners
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	cd protos && ../$(BIN)/buf lint && ../$(BIN)/buf breaking --against published.binpb
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive charts infra services
	$(BIN)/shellcheck .ci/run .ci/deliver-image infra/build-image infra/kind/deliver-image infra/tools/prometheus
	$(BIN)/python -m tests.charts.scan

types: setup ## strict types
	$(BIN)/mypy

format: setup ## rewrite to the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: setup ## rewrite what is generated: protos/gen from the protos, the chart's values and the catalog's fields from their types, its ways in from docs/openapi, the page of models from the base catalog, that of commands from them, rules and dashboards
	rm -rf protos/gen && mkdir -p protos/gen
	PATH=$(BIN):$$PATH $(BIN)/python -m grpc_tools.protoc -I protos --python_out=protos/gen --pyi_out=protos/gen \
	  --grpc_python_out=protos/gen --mypy_grpc_out=quiet:protos/gen $(PROTOS)
	find protos/gen/* -type d -exec touch {}/__init__.py \;
	$(BIN)/python -m charts.values
	$(BIN)/python -m services.registry.reference
	$(BIN)/python -m services.registry.models_page
	$(BIN)/python -m services.cli.reference
	$(BIN)/python -m infra.shelf
	$(BIN)/python -m infra.observability

GENERATED := protos/gen charts/tokenline/values.yaml charts/tokenline/values.schema.json charts/tokenline/README.md charts/tokenline/files docs/catalog-fields.md docs/catalog.schema.json docs/models.md docs/commands.md docs/offerings.md \
  infra/observability/rules.yaml infra/observability/dashboards

verify: generate ## fail when what is committed is not what is generated
	@git diff --exit-code --stat -- $(GENERATED) && test -z "$$(git status --porcelain -- $(GENERATED))" \
	  || { echo "generated files are stale: run make generate and commit them"; exit 1; }

publish: setup ## the protos as they are become what later ones must not break
	cd protos && ../$(BIN)/buf build --exclude-source-info -o published.binpb

lock: setup ## write the lock files anew from pyproject.toml
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header infra/policy/requirements.in -o infra/policy/requirements.lock
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header tests/clients/requirements.in -o tests/clients/requirements.lock
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header tests/clients/frameworks.in -o tests/clients/frameworks.lock
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header tests/clients/llama_index.in -o tests/clients/llama_index.lock
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header tests/peers/litellm.in -o tests/peers/litellm.lock
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header tests/peers/redis.in -o tests/peers/redis.lock
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --group build -c requirements-dev.lock -o requirements-build.lock

bench: setup ## measure the edge with every service a process of its own
	$(BIN)/tokenline bench edge

bench-peers: setup ## measure Tokenline beside other gateways in ten minutes; go in PATH, and minutes more to fetch and build them once
	$(BIN)/python -m tests.peers

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .policy .clients $(TOOLS) .mypy_cache .ruff_cache .pytest_cache .hypothesis
