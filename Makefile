# Each target works on a fresh machine: it fills .venv once, and again when pyproject.toml changes. It uses uv if there is one,
# otherwise pip (make UV= ... uses pip in any case).
PYTHON ?= python3
ifeq ($(origin UV),undefined)
UV := $(shell sh -c 'command -v uv')
endif
# more than the machine has would start all trainings at once, each with too little of it
CORES ?= $(shell nproc 2> /dev/null || getconf _NPROCESSORS_ONLN)
BIN := .venv/bin
# Tests run in up to four processes, each with one thread. The files that take longest start first. An empty
# PYTHONDONTWRITEBYTECODE, which many containers set, lets the processes that tests start compile the package once.
SIDE_BY_SIDE := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4
SMK := Snakefile workflows/Snakefile $(wildcard workflows/rules/*.smk)

.PHONY: help test test-long check docs style bench bench-promoter bench-accuracy bench-motifs bench-pu1 ship-model motif-parent schema lock clean
.DELETE_ON_ERROR:
# .dev contains .run, and must come first
.NOTPARALLEL:

help:
	@echo "make train_NAME        train workflows/tasks/NAME.toml into results/NAME/: model, metrics, motifs, report (CORES=$(CORES))"
	@echo "make sweep_NAME        train and rank the runs of its [sweep] on the validation set: results/NAME/sweep.tsv (try sweep_grid)"
	@echo "make test              run the tests, except the long ones"
	@echo "make test-long         run the long tests (minutes); as root with SELFATTN_SLURM_TEST=1 also the workflow on a two-node Slurm"
	@echo "make check             check format, lint, types, layers and workflow rules"
	@echo "make docs              build the documentation site in build/docs, with the results of the smoke task; warnings are errors"
	@echo "make style             count unusual English, long lines, files and functions (ARGS=--hits lists them)"
	@echo "make bench             measure the speed of the parts"
	@echo "make bench-accuracy    print one table of published sets and the tasks that ship (sets in ../shared/bench or SELFATTN_BENCH=DIR)"
	@echo "make bench-promoter    train three seeds of the fly promoter task"
	@echo "make bench-motifs      compare explanations with planted motifs (hours on two cores; ARGS='--grammars final --write-docs' for docs)"
	@echo "make bench-pu1         find the motif of PU.1 in its ChIP-seq peaks (three minutes; set in ../shared/bench or SELFATTN_BENCH=DIR)"
	@echo "make ship-model        rebuild the promoter model that ships (python benchmarks/scores.py checks its scores)"
	@echo "make motif-parent      rebuild the encoder of [transfer] parent = 'motifs' (371 s of one core, AMD EPYC Zen 4)"
	@echo "make schema            write the JSON Schema of run files, which editors read"
	@echo "make lock              write the newest versions of all dependencies to constraints.txt (needs uv)"
	@echo "make clean             remove results, caches and .venv"

train_%: .venv/.warm
	$(BIN)/snakemake --cores $(CORES) $@

sweep_%: .venv/.run
	$(BIN)/snakemake --cores $(CORES) $@

test: .venv/.dev .venv/.warm
	$(SIDE_BY_SIDE) -m "not long" --dist loadfile --no-loadscope-reorder tests/workflow tests/unit/study tests $(ARGS)

test-long: .venv/.dev .venv/.warm
	$(SIDE_BY_SIDE) -m long --dist loadgroup --timeout 1800 $(ARGS)

check: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check $(SMK)
	$(BIN)/python benchmarks/style.py --check

docs: .venv/.dev train_smoke
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --fresh-env --quiet docs build/docs
	@echo "Open build/docs/index.html"

style: .venv/.run
	$(BIN)/python benchmarks/style.py $(ARGS)

bench: .venv/.dev .venv/.warm
	$(BIN)/python benchmarks/leakage.py
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/scan_memory.py
	$(BIN)/python benchmarks/scan_speed.py
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/agreement.py
	$(BIN)/python benchmarks/attention_speed.py $(ARGS)

bench-promoter: .venv/.warm
	$(BIN)/python benchmarks/promoter.py

bench-motifs: .venv/.dev .venv/.warm
	$(BIN)/python benchmarks/motifs.py $(ARGS)

bench-pu1: .venv/.warm
	$(BIN)/python benchmarks/pu1.py $(ARGS)

ship-model: train_promoter
	$(BIN)/python data/make_promoter_model.py

motif-parent: .venv/.run
	$(BIN)/python data/make_motif_parent.py

bench-accuracy: .venv/.run
	$(BIN)/python benchmarks/accuracy.py $(ARGS)

schema: .venv/.run
	$(BIN)/selfattn-bio schema

# torch and the libraries that it brings are not pinned: the builds for CPU and CUDA have different ones
lock:
	$(UV) pip compile --quiet --universal --upgrade --python-version 3.11 --all-extras --group test --group bench --group docs --no-annotate \
		--no-header pyproject.toml | grep -vE '^(cuda-|nvidia-|torch=|triton=)' > constraints.txt

clean:
	rm -rf build results .snakemake .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# ------------------------------------------------------------------------------------------------------------ set-up
ifneq ($(UV),)
INSTALL := $(UV) pip install --python .venv
else
INSTALL := $(BIN)/pip install --disable-pip-version-check
endif
INSTALL += --constraint constraints.txt --editable '.[all]'

.venv/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $$($(PYTHON) --version 2>&1) is too old (3.11 or newer is needed); choose one: make PYTHON=python3.12 ..." >&2; exit 1; }
ifneq ($(UV),)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
else
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "make: the venv module of python is missing; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --upgrade-deps .venv
endif
	@touch $@

.venv/.run: pyproject.toml constraints.txt .venv/.python
	@echo "Installing selfattn_bio and its dependencies into .venv (once, a few minutes)"
	$(INSTALL)
	@touch $@

# with the tools of developers
.venv/.dev: pyproject.toml constraints.txt .venv/.python
	@echo "Installing selfattn_bio, its dependencies and the tools of developers into .venv (once, a few minutes)"
	$(INSTALL) --group test --group bench --group docs
	@touch .venv/.run $@

.venv/.warm: .venv/.run
	@echo "Compiling the motif search with numba (once, up to a minute)"
	$(BIN)/python benchmarks/warm.py
	@touch $@
