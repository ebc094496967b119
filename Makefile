# `make` alone lists the targets.
.DEFAULT_GOAL := help
.PHONY: help run demo test test-thorough containers clients browser screenshots torture fuzz bench check audit format lock clean

PYTHON ?= python3
# not the scripts in .venv/bin: they do not start from a directory whose path contains a space
PY := .venv/bin/python

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 15

run: .venv/embedded ## run the service on http://127.0.0.1:8000 with an embedded PostgreSQL
	@exec $(PY) -m service serve

demo: .venv/embedded ## run it with a simulated arXiv, for use without internet
	@exec $(PY) -m demo --with-service

# More processes than cores: the tests wait half of the time. The many short unit tests run last, so
# that no process waits for a long file.
test: .venv/dev ## run all tests that need seconds, not minutes, and no containers
	@PYTHONDONTWRITEBYTECODE= $(PY) -m pytest --ignore tests/clients --ignore tests/browser \
		-m "not thorough and not containers" --numprocesses 4 --dist loadfile --no-loadscope-reorder

test-thorough: .venv/dev ## run the slow tests of faults and random input, each in a short form
	@$(PY) -m pytest --ignore tests/clients --ignore tests/browser -m thorough --numprocesses 4 --dist worksteal

containers: .venv/dev ## build the image and test the containers (needs podman and root)
	@$(PY) -m pytest tests/deploy -m containers

CLIENTS := arxiv-2 arxiv-3 arxiv-4 paperscraper pubs npm
clients: .venv/dev $(CLIENTS:%=.venv-clients/%/installed) ## compare what real arXiv clients get from arXiv and from the service
	@$(PY) -m pytest tests/clients --numprocesses 2 --dist worksteal

browser: .venv/dev .venv-clients/pages-npm/installed ## test the pages in Chromium, their HTML and their accessibility
	@$(PY) -m pytest tests/browser --numprocesses 2 --dist loadfile

screenshots: .venv/dev ## take the screenshots in docs/images again
	@$(PY) -m pytest --quiet tests/browser/screenshots.py
	@if command -v pngquant >/dev/null; then pngquant --force --ext .png --strip docs/images/*.png; \
	else echo "pngquant is missing: the files are larger than necessary"; fi

torture: .venv/dev ## inject hundreds of faults: kills, cut connections, restarts (ten minutes at most)
	@TORTURE=long $(PY) -m pytest tests/torture --numprocesses 4 --dist worksteal

fuzz: .venv/fuzz ## search for input that breaks the service (a quarter of an hour)
	@$(PY) -m pytest tests/api/test_openapi_contract.py tests/api/test_bodies.py tests/unit/test_parsers.py \
		--hypothesis-profile=long
	@$(PY) -m fuzz.arxiv_xml -runs=1000000

bench: .venv/dev .venv-clients/datasette/installed ## measure the cost of the service relative to its parts (ten minutes at most)
	@$(PY) -m benchmarks

check: .venv/dev ## check formatting, lints and types
	@$(PY) -m ruff format --check --quiet .
	@$(PY) -m ruff check --quiet .
	@$(PY) -m mypy --no-error-summary

# Exits with 1 if there is a known vulnerability, and with 0 and a message if nothing can be audited.
audit: ## look for known vulnerabilities of the pinned packages
	@$(PYTHON) -m venv --without-pip .venv/audit && $(PYTHON) -m pip --python .venv/audit/bin/python \
		install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: \
		-r requirements/audit.txt \
		|| { echo "cannot install pip-audit: nothing was audited"; exit 0; }; \
	for lock in requirements/embedded.txt requirements/dev.txt; do \
		.venv/audit/bin/python -m pip_audit --progress-spinner off --disable-pip --require-hashes \
			--timeout 10 -r $$lock >.venv/audit/output 2>&1 && { \
				echo "$$lock: $$(grep -c 'could not be audited' .venv/audit/output) of $$(grep -c == $$lock)" \
					"packages could not be audited, the others have no known vulnerabilities"; \
				continue; }; \
		grep -q '^Name .*Fix Versions' .venv/audit/output && { cat .venv/audit/output; exit 1; }; \
		echo "$$lock was not audited: $$(tail -n 1 .venv/audit/output | cut -c 1-200)"; \
	done

format: .venv/dev ## format the code
	@$(PY) -m ruff format --quiet .
	@$(PY) -m ruff check --quiet --fix .

lock: ## pin the newest versions of the dependencies, with the hashes of their files
	@$(PYTHON) -m venv .venv/lock && .venv/lock/bin/python -m pip install --quiet uv
	@set -e; lock() { .venv/lock/bin/python -m uv pip compile --quiet --universal --upgrade \
		--python-version 3.11 --generate-hashes --no-header --no-annotate "$$@"; }; \
	lock pyproject.toml --extra queue -o requirements/run.txt; \
	lock pyproject.toml --extra embedded --extra queue -o requirements/embedded.txt; \
	all="--extra embedded --extra queue --extra opentelemetry --group dev"; \
	lock pyproject.toml $$all -o requirements/dev.txt; \
	lock pyproject.toml $$all --group fuzz -o requirements/fuzz.txt; \
	lock --group audit -o requirements/audit.txt; \
	for name in arxiv-2 arxiv-3 arxiv-4 paperscraper pubs datasette build; do \
		lock --group clients-$$name -o requirements/clients-$$name.txt; \
	done
	@for name in clients pages; do npm update --prefix requirements/$$name-npm --package-lock-only \
		--ignore-scripts --silent --omit-lockfile-registry-resolved; done

clean: ## remove the virtual environments; data stays
	rm -rf .venv .venv-clients

# Debian's python3 has no ensurepip, so the system's pip installs into the environment. Modules are
# compiled here for users that forbid Python to write; otherwise each start would compile them.
.venv/embedded .venv/dev .venv/fuzz: .venv/%: requirements/%.txt
	@echo "installing the packages of $< (a minute, once)"
	@test -x $(PY) || $(PYTHON) -m venv --without-pip .venv
	@$(PYTHON) -m pip --python $(PY) install --quiet --disable-pip-version-check \
		--require-hashes --no-deps --only-binary :all: -r $<
	@$(PY) -m compileall -q service demo
	@touch $@

# With uv, which installs these hundreds of packages in seconds. Some have no wheels; uv builds those
# with the pinned setuptools.
.venv-clients/%/installed: requirements/clients-%.txt requirements/clients-build.txt
	@echo "installing the packages of $<"
	@$(PY) -m uv venv --quiet --clear $(@D)
	@$(PY) -m uv pip install --quiet --python $(@D)/bin/python --require-hashes --no-deps \
		--build-constraints requirements/clients-build.txt -r $<
	@touch $@

.venv-clients/npm/installed: requirements/clients-npm/package.json requirements/clients-npm/package-lock.json
.venv-clients/pages-npm/installed: requirements/pages-npm/package.json requirements/pages-npm/package-lock.json
.venv-clients/npm/installed .venv-clients/pages-npm/installed:
	@mkdir -p $(@D) && cp $^ $(@D)
	@if command -v npm >/dev/null; then echo "installing the packages of $<"; \
		npm ci --prefix $(@D) --ignore-scripts --silent && touch $@; \
	else echo "npm is missing: tests that need the packages of $< are skipped"; fi
