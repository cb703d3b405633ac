# Each target sets itself up on a fresh machine: .venv is filled once, and again when pyproject.toml changes.
PYTHON ?= python3
CORES ?= 8
BIN := .venv/bin
# Files of tests, a thread each; those of the workflow take longest and begin.
SIDE_BY_SIDE := --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder tests/workflow tests
SMK := Snakefile $(wildcard workflows/*.smk workflows/rules/*.smk)

.PHONY: help test test-long check style bench bench-promoter bench-kinds bench-long-range bench-equalities bench-accuracy bench-motifs bench-pu1 ship-model schema clean
.DELETE_ON_ERROR:

help:
	@echo "make train_promoter   results/promoter/: model, metrics, motifs, report (train_NAME for workflows/tasks/NAME.toml; CORES=$(CORES))"
	@echo "make sweep_NAME       results/NAME/sweep.tsv: the runs of its [sweep], ranked on valid (sweep_grid: a small one)"
	@echo "make test             the tests                    make test-long        kills by the dozen, minutes"
	@echo "                      SELFATTN_SLURM_TEST=1 make test-long, as root with Slurm installed: the workflow through a Slurm of two nodes"
	@echo "make check           format, lint, types, layers, workflow rules"
	@echo "make style           unusual English, wide lines and long names, by folder (ARGS=--hits lists them)"
	@echo "make bench            speed of the parts           make bench-promoter  three seeds on the fly promoters"
	@echo "make bench-kinds      each kind of attention on promoters and transcription starts (29 trainings)"
	@echo "make bench-long-range sparse patterns and an LSTM on a label that hangs on a cue 4,096 letters away (45 trainings)"
	@echo "make bench-equalities a step in one batch, accumulated, by two processes and sharded: the losses side by side"
	@echo "make bench-motifs     explanations of models of made sequences, beside the truth (hours on two cores; ARGS='--grammars final' for docs)"
	@echo "make bench-pu1        the motif of PU.1 from its peaks, from ../shared/bench or SELFATTN_BENCH=DIR (three minutes)"
	@echo "make ship-model       the promoter model that ships, from a run of its task; python benchmarks/scores.py says how far to believe its scores"
	@echo "make bench-accuracy   one table over published sets, from ../shared/bench or SELFATTN_BENCH=DIR, and the tasks that ship"
	@echo "make schema           JSON Schema of run files     make clean           remove results, caches and .venv"

train_%: .venv/.warm
	$(BIN)/snakemake --cores $(CORES) $@

sweep_%: .venv/.run
	$(BIN)/snakemake --cores $(CORES) $@

test: .venv/.test .venv/.bench .venv/.warm
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not long" $(SIDE_BY_SIDE) $(ARGS)

test-long: .venv/.test .venv/.warm $(if $(filter 1,$(SELFATTN_SLURM_TEST)),.venv/.slurm)
	$(BIN)/python -m pytest -m long --timeout 1800 $(ARGS)

check: .venv/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check $(SMK)

style: .venv/.run
	$(BIN)/python benchmarks/style.py $(ARGS)

bench: .venv/.warm .venv/.bench
	$(BIN)/python benchmarks/kmers.py
	$(BIN)/python benchmarks/tracks.py
	$(BIN)/python benchmarks/leakage.py
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/dropout.py
	$(BIN)/python benchmarks/agreement.py
	$(BIN)/python benchmarks/attention_speed.py $(ARGS)

bench-promoter: .venv/.warm
	$(BIN)/python benchmarks/promoter.py

bench-kinds: .venv/.warm
	$(BIN)/python benchmarks/kinds.py

bench-long-range: .venv/.run
	$(BIN)/python benchmarks/long_range.py

bench-motifs: .venv/.bench .venv/.warm
	$(BIN)/python benchmarks/motifs.py $(ARGS)

bench-pu1: .venv/.warm
	$(BIN)/python benchmarks/pu1.py $(ARGS)

bench-equalities: .venv/.run
	$(BIN)/python benchmarks/equalities.py

ship-model: train_promoter
	$(BIN)/python data/make_promoter_model.py

bench-accuracy: .venv/.run
	$(BIN)/python benchmarks/accuracy.py $(ARGS)

schema: .venv/.run
	$(BIN)/python workflows/schemas/make_schema.py

clean:
	rm -rf results .snakemake .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# ------------------------------------------------------------------------------------------------------------ set-up
.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: python must be 3.11 or newer, got $$($(PYTHON) --version 2>&1). Name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "make: python must have its venv module. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.run: pyproject.toml .venv/.made
	@echo "Installing selfattn_bio and what it needs into .venv (once, some minutes)"
	$(BIN)/pip install --disable-pip-version-check --editable .
	@touch $@

.venv/.test: .venv/.run
	$(BIN)/pip install --disable-pip-version-check --editable '.[test]'
	@touch $@

.venv/.slurm: .venv/.test
	$(BIN)/pip install --disable-pip-version-check --editable '.[slurm]'
	@touch $@

.venv/.bench: .venv/.run
	$(BIN)/pip install --disable-pip-version-check --editable '.[bench]'
	@touch $@

.venv/.warm: .venv/.run
	@echo "Compiling the motif search with numba (once, up to two minutes)"
	$(BIN)/python -m selfattn_bio.interpret.warm
	@touch $@
