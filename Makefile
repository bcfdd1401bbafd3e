# Headrace from a fresh clone: every goal makes the virtual environment that it needs and calls one `headrace` verb.
# `make help` lists the goals.

BOARD  ?= sim
MODEL  ?= mnist-w2a2
ENGINE ?= stream
MODE   ?= performance
VARIANT ?=
PYTHON ?= python3
VENV   ?= .venv

# Relative to where make was called, which is not where every tool runs.
ifdef HEADRACE_DATA
export HEADRACE_DATA := $(if $(filter /%,$(HEADRACE_DATA)),,$(CURDIR)/)$(HEADRACE_DATA)
endif
export VENV

READY    := $(VENV)/.ready
HEADRACE := $(VENV)/bin/headrace
HARDWARE := $(BOARD)$(if $(VARIANT),-$(VARIANT))
# SEEDS, FLOW and ALLOW_TIMING_FAIL, where given, reach the verbs by the environment.
TARGET    = '$(MODEL)' --board $(HARDWARE) --engine $(ENGINE)
FOLDER    = build/$(HARDWARE)-$(basename $(notdir $(MODEL)))-$(ENGINE)

BOARDS = $(sort $(filter-out __init__ board devices,$(basename $(notdir $(wildcard boards/*.py)))))

.PHONY: help build run load flash bench report synth train models doctor test test-slow lint format clean distclean
.DEFAULT_GOAL := help

help: ## this list
	@echo "make [BOARD=sim] [MODEL=name or file] [ENGINE=stream] [MODE=performance or accuracy] GOAL"
	@echo "     BOARD is one of $(BOARDS); for an FPGA: [VARIANT=a7-35] [SEEDS=4] [FLOW=open or vivado] [ALLOW_TIMING_FAIL=1] [PORT=/dev/…]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

build: $(READY) ## model file to Verilog, SoC, firmware and simulator or bitstream, below build/
	$(HEADRACE) build $(TARGET)

run: $(READY) ## leave the simulated board running; prints its serial port
	$(HEADRACE) run $(TARGET)

load: $(READY) ## put the build into the board's FPGA, until power goes
	$(HEADRACE) load $(TARGET)

flash: $(READY) ## put the build into the memory that the board's FPGA starts from
	$(HEADRACE) load $(TARGET) --flash

bench: $(READY) ## build what is missing, then benchmark over the serial line: results.json, report.html
	$(HEADRACE) bench $(TARGET) --mode $(MODE)$(if $(PORT), --port '$(PORT)')

report: $(READY) ## draw report.html again from what was measured
	$(HEADRACE) report $(TARGET)

synth: $(READY) ## the accelerator through Yosys for the Artix-7: resources
	$(HEADRACE) synth $(TARGET)

models: $(READY) ## the models that MODEL= knows
	$(HEADRACE) models

doctor: $(READY) ## each tool, where it was found, how to get the one that is missing
	$(HEADRACE) doctor

train: $(VENV)/.ready-train ## train MODEL again (PyTorch and Brevitas, installed at the first call)
	$(HEADRACE) train '$(MODEL)'

test: $(READY) ## lint, types, import layers and all tests but the slow ones
	ci/lint
	ci/test

test-slow: $(READY) ## the long sweeps
	ci/test -m slow

lint: $(READY) ## format, lint, types, import layers, lock files
	ci/lint

format: $(READY) ## format all Python files
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

clean: ## remove what was built for this board, model and engine
	rm -rf '$(FOLDER)'

distclean: ## remove everything that was built, and the virtual environment
	rm -rf build '$(VENV)'

$(READY): requirements.lock ci/venv
	@ci/venv '$(PYTHON)' '$(VENV)'

$(VENV)/.ready-train: $(READY) requirements-train.lock
	@echo "headrace: installing PyTorch and Brevitas into $(VENV)"
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-train.lock
	@touch '$@'
