# What can be done here; `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help run demo test torture fuzz bench check audit format lock clean

PYTHON ?= python3
# never the scripts in bin: they cannot start from a folder with a space in its name
PY := .venv/bin/python

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 10

run: .venv/embedded ## the service on http://127.0.0.1:8000, with an embedded PostgreSQL
	@exec $(PY) -m service serve

demo: .venv/embedded ## the same with a stand-in for arXiv on this machine, for use without internet
	@exec $(PY) -m demo --with-service

# more workers than cores: half of the time is spent waiting
test: .venv/dev ## all tests
	@$(PY) -m pytest --numprocesses 4 --dist loadfile

# the short form is among all tests; whoever sleeps leaves a processor to the others
torture: .venv/dev ## faults by the hundred: kills, cuts, restarts, a full disk (ten minutes at most)
	@TORTURE=long $(PY) -m pytest tests/torture --numprocesses 4 --dist worksteal

fuzz: .venv/fuzz ## a search for input that breaks the service (a quarter of an hour)
	@$(PY) -m pytest tests/test_contract.py tests/test_parsers.py --hypothesis-profile=long
	@$(PY) -m fuzz.arxiv_xml -runs=1000000

bench: .venv/dev ## ratios of what the service costs to what its parts cost (ten minutes at most)
	@$(PY) -m benchmarks

check: .venv/dev ## format, lints and types
	@$(PY) -m ruff format --check --quiet .
	@$(PY) -m ruff check --quiet .
	@$(PY) -m mypy --no-error-summary

# Exit 1 where a known vulnerability is found; where its data cannot be reached, that is said.
audit: ## known vulnerabilities of what is pinned
	@$(PYTHON) -m venv --without-pip .venv/audit && $(PYTHON) -m pip --python .venv/audit/bin/python \
		install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: \
		-r requirements-audit.txt \
		|| { echo "pip-audit cannot be installed here: nothing was audited"; exit 0; }; \
	for locked in requirements-embedded.txt requirements-dev.txt; do \
		.venv/audit/bin/python -m pip_audit --progress-spinner off --disable-pip --require-hashes \
			--timeout 10 -r $$locked >.venv/audit/said 2>&1 && { \
				echo "$$locked: $$(grep -c 'could not be audited' .venv/audit/said) of $$(grep -c == $$locked)" \
					"packages could not be audited, the others have no known vulnerability"; \
				continue; }; \
		grep -q '^Name .*Fix Versions' .venv/audit/said && { cat .venv/audit/said; exit 1; }; \
		echo "$$locked was not audited: $$(tail -n 1 .venv/audit/said | cut -c 1-200)"; \
	done

format: .venv/dev ## put the code into its format
	@$(PY) -m ruff format --quiet .
	@$(PY) -m ruff check --quiet --fix .

lock: ## pin the newest dependencies, with the hash of every file
	@$(PYTHON) -m venv .venv/lock && .venv/lock/bin/python -m pip install --quiet uv
	@set -e; lock() { .venv/lock/bin/python -m uv pip compile --quiet --universal --upgrade \
		--python-version 3.11 --generate-hashes --no-header --no-annotate "$$@"; }; \
	lock pyproject.toml --extra queue -o requirements.txt; \
	lock pyproject.toml --extra embedded --extra queue -o requirements-embedded.txt; \
	lock pyproject.toml --extra embedded --extra queue --extra opentelemetry --group dev -o requirements-dev.txt; \
	lock pyproject.toml --extra embedded --extra queue --extra opentelemetry --group dev --group fuzz -o requirements-fuzz.txt; \
	lock --group audit -o requirements-audit.txt

clean: ## remove the virtual environment; data stays
	rm -rf .venv

# Debian's python3 comes without ensurepip, so the system's pip installs into the environment. Modules
# are compiled here for those who forbid Python to write: a start takes a fifth longer otherwise.
.venv/embedded .venv/dev .venv/fuzz: .venv/%: requirements-%.txt
	@echo "installing what $(<F) pins (a minute, once)"
	@test -x $(PY) || $(PYTHON) -m venv --without-pip .venv
	@$(PYTHON) -m pip --python $(PY) install --quiet --disable-pip-version-check \
		--require-hashes --no-deps --only-binary :all: -r $<
	@$(PY) -m compileall -q service demo
	@touch $@
