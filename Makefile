# What a newcomer and CI run. Needs make and Python 3.11 or later, nothing else.
#   make run PYTHON=python3.12       takes a certain interpreter
#   make run ARGS="--port 9000"      passes arguments on (also to the tests, bench, bench-search and fuzz)

VENV = .venv
PYTHON =
ARGS =
DATA =

PYTHONS = $(or $(PYTHON),python3.13 python3.12 python3.11 python3.14 python3.15 python3)
PY = $(VENV)/bin/python
# Two variables: newer pips apply the first to the install and the second to its build, older ones the first to both.
INSTALL = PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
          $(PY) -m pip install --quiet --no-input

# The conformance suite and the inspector, which are programs for Node; it comes with them.
NODE_TOOLS = build/conformance

.PHONY: help run demo test test-slow test-browser lint format types generated bench bench-search \
        bench-sessions conformance conformance-tools fuzz constraints clean
.DEFAULT_GOAL = help

help:
	@echo "make run          set up and serve: MCP over HTTP, and what to paste into a client"
	@echo "make demo         a day of a swarm, on temporary data"
	@echo "make test         the fast tests        make test-slow   the others: kill, load and upgrade tests"
	@echo "make test-browser the pages, in an installed Chromium"
	@echo "make lint         ruff                  make format      reformat"
	@echo "make types        mypy, strict          make generated   are generated files current?"
	@echo "make bench-search DATA=\"FILE...\"   how well and how fast search finds, on files of texts and queries"
	@echo "make bench-sessions   500 HTTP sessions at once, for five minutes"
	@echo "make bench        measure               make constraints pin the newest versions in bounds"
	@echo "make conformance  what the official suite says of it (needs npm)"
	@echo "make fuzz         100,000 hostile requests at a server of its own"
	@echo "make clean        remove what was made"

run: $(VENV)/.installed
	@exec $(VENV)/bin/one-mcp serve $(ARGS)

demo: $(VENV)/.installed
	@exec $(VENV)/bin/one-mcp demo $(ARGS)

test: $(VENV)/.installed-dev
	@$(PY) -m pytest -n 2 -m "not slow and not browser" $(ARGS)

test-slow: $(VENV)/.installed-dev
	@$(PY) -m pytest -m slow $(ARGS)

test-browser: $(VENV)/.installed-dev
	@$(PY) -m pytest -m browser $(ARGS)

lint: $(VENV)/.installed-dev
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

format: $(VENV)/.installed-dev
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

types: $(VENV)/.installed-dev
	@$(PY) -m mypy

generated: $(VENV)/.installed-dev
	@$(PY) scripts/generate.py --check

bench: $(VENV)/.installed-dev
	@$(PY) -m benchmarks $(ARGS)

bench-sessions: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.sessions $(ARGS)

bench-search: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.search $(DATA) $(ARGS)

conformance: $(VENV)/.installed-dev conformance-tools
	@$(PY) -m tests.conformance

conformance-tools: $(NODE_TOOLS)/.installed

fuzz: $(VENV)/.installed-dev
	@$(PY) -m tests.fuzz $(ARGS)

constraints: $(VENV)/.installed-dev
	@$(PY) -m pip install --quiet --disable-pip-version-check "uv>=0.13,<0.14"
	@$(PY) scripts/constraints.py

clean:
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The first interpreter that is new enough and can make a virtual environment.
$(VENV)/.created:
	@bare=""; \
	for python in $(PYTHONS); do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  "$$python" -c 'import venv, ensurepip' 2>/dev/null || { bare=$${bare:-$$python}; continue; }; \
	  echo "Setting up $(VENV) with $$("$$python" --version) ..."; \
	  "$$python" -m venv --clear $(VENV) && touch $@; exit; \
	done; \
	if [ -n "$$bare" ]; then \
	  echo "$$bare cannot make a virtual environment: its modules venv and ensurepip are missing."; \
	  echo "On Debian and Ubuntu: apt install $$("$$bare" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')"; \
	else \
	  echo "None of these is a Python 3.11 or later: $(PYTHONS)."; \
	  echo "Install one, or say where it is: make run PYTHON=/path/to/python3"; \
	fi >&2; exit 1

$(NODE_TOOLS)/.installed: tests/conformance/package.json
	@command -v npm >/dev/null || { echo "npm is missing. It comes with Node: https://nodejs.org" >&2; exit 1; }
	@echo "Installing the conformance suite and the inspector (once; downloads about 100 MB) ..."
	@rm -rf $(NODE_TOOLS) && mkdir -p $(NODE_TOOLS) && cp $< $(NODE_TOOLS)/
	@npm install --prefix $(NODE_TOOLS) --no-package-lock --no-audit --no-fund --loglevel=error
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml constraints.txt
	@echo "Installing one-mcp (once; downloads about 250 MB) ..."
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing the tools for tests (once) ..."
	@$(INSTALL) --editable ".[dev]"
	@touch $@
