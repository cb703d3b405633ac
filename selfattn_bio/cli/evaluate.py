"""Judge a model on valid and test beside honest baselines and controls.

Scores every labelled record of valid and test with the model and its variants, fits the baselines on the same train records
(choosing on valid), and writes metrics.json and predictions/{valid,test}.tsv: each metric with a bootstrap interval, before and
after calibration, within slices, and the paired difference between the model and each baseline. Test is read once, here.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfattn_bio.errors import CorpusError, ModelFolderError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from selfattn_bio.config import Evaluation
    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.evaluation.summary import Classifier

    Letters = dict[str, list[NDArray[np.uint8]]]  # by side
    Labels = dict[str, NDArray[np.int64]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `selfattn-bio evaluate`."""
    parser.add_argument("--run-file", required=True, type=Path, metavar="FILE", help="TOML of the task; its [evaluation] is used")
    parser.add_argument("--corpus", required=True, type=Path, metavar="DIR", help="corpus folder, from `ingest`")
    parser.add_argument("--split", required=True, type=Path, metavar="FILE", help="split table, from `split`")
    parser.add_argument("--model", required=True, type=Path, metavar="DIR", help="model folder, from `train`")
    parser.add_argument(
        "--variant",
        action="extend",
        nargs="+",
        default=[],
        type=_named_folder,
        metavar="NAME=DIR",
        help="model folders of variants: baselines and controls",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="where metrics.json and predictions/ go")


def run(arguments: argparse.Namespace) -> None:
    """Predict valid and test with all models, fit the baselines, write metrics.json and predictions/."""
    from selfattn_bio.config import read_run_file
    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.evaluation.summary import SIDES, predictions_table, summarise
    from selfattn_bio.files import sha256_of, whole_file
    from selfattn_bio.model.checkpoint import check_trained_on
    from selfattn_bio.model.lineage import check_unseen

    run_file = read_run_file(arguments.run_file)
    settings, corpus = run_file.evaluation, Corpus.open(arguments.corpus)
    if run_file.objective.kind != "binary":
        _evaluate_targets(arguments, settings, corpus)
        return
    rows = _rows_of_sides(corpus, arguments.split)
    letters = {side: [corpus.letters(i) for i in rows[side].index] for side in rows}
    labels = {side: rows[side]["label"].to_numpy(dtype="int64") for side in rows}
    print("evaluate: " + ", ".join(f"{side} {len(labels[side])} records ({labels[side].sum()} positive)" for side in labels), flush=True)

    folders = {"model": arguments.model, **dict(arguments.variant)}
    for folder in folders.values():
        check_trained_on(folder, corpus.fingerprint, sha256_of(arguments.split))
        check_unseen(folder, corpus.records.iloc[rows["test"].index], letters["test"], corpus.alphabet, corpus.assembly)
    classifiers = _networks(folders, letters)
    classifiers |= _fitted_baselines(corpus, letters, labels)
    summary = summarise(classifiers, labels, _properties(corpus, letters), settings)
    summary["train"] = _read_json(arguments.model / "train.json")
    for side in SIDES:
        table = predictions_table(rows[side]["id"].tolist(), labels[side], classifiers, side)
        with whole_file(arguments.output / "predictions" / f"{side}.tsv") as path:
            table.to_csv(path, sep="\t", index=False, float_format="%.6g")
    with whole_file(arguments.output / "metrics.json") as path:
        path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    _say(summary, arguments.output)


def _evaluate_targets(arguments: argparse.Namespace, settings: Evaluation, corpus: Corpus) -> None:
    """Every objective but positives against negatives: the model and simple baselines, metrics.json and predictions/."""
    import numpy as np
    import pandas as pd

    from selfattn_bio.config import PER_TOKEN, LabelsObjective, MulticlassObjective
    from selfattn_bio.evaluation import targets as judge
    from selfattn_bio.evaluation.measures import columns_of, predictions_of, targets_of
    from selfattn_bio.evaluation.summary import SIDES
    from selfattn_bio.files import sha256_of, whole_file
    from selfattn_bio.model.checkpoint import check_trained_on
    from selfattn_bio.model.lineage import check_unseen
    from selfattn_bio.scoring.scorer import load
    from selfattn_bio.sequence.splits import read_split
    from selfattn_bio.training.objectives import LanguageModel, build_objective

    check_trained_on(arguments.model, corpus.fingerprint, sha256_of(arguments.split))
    scorer = load(arguments.model)
    section, split = scorer.run.objective, np.array(read_split(arguments.split, corpus.records["id"]))
    rows = {side: np.flatnonzero(split == side) for side in ("train", *SIDES)}
    letters = {side: [corpus.letters(int(i)) for i in of_side] for side, of_side in rows.items()}
    check_unseen(arguments.model, corpus.records.iloc[rows["test"]], letters["test"], corpus.alphabet, corpus.assembly)
    print("evaluate: " + ", ".join(f"{side} {len(letters[side])} records" for side in letters), flush=True)
    both = {side: letters[side] for side in SIDES}
    if section.kind in ("masked", "causal"):
        language = build_objective(scorer.run, scorer.tokenizer, np.zeros(0))
        assert isinstance(language, LanguageModel)
        if language.letters is None:
            baselines = {"unigram": judge.unigram_nats(scorer.tokenizer, letters["train"], both)}
        else:
            nats = judge.markov_nats(corpus.alphabet, letters["train"], letters["valid"], both)
            baselines = {"markov": {side: of_side * language.letters for side, of_side in nats.items()}}
        sums = {side: language.sums(scorer, letters[side]) for side in SIDES}
        summary = judge.summarise_language(sums, language.letters, baselines, settings)
        tables = {
            side: pd.DataFrame({"nats": of_side[:, 0] / of_side[:, 2], "right": of_side[:, 1], "tokens": of_side[:, 2]})
            for side, of_side in sums.items()
        }
    else:
        columns = columns_of(section)
        table = corpus.targets(columns)
        targets = {side: targets_of(section, table.iloc[of_side], corpus.summary["targets"]["path"]) for side, of_side in rows.items()}
        fitted = judge.fit_baselines(section, corpus.alphabet, letters["train"], targets["train"], letters["valid"], targets["valid"])
        predictions: dict[str, dict[str, Any]] = {
            name: {side: predict(letters[side]) for side in SIDES} for name, predict in fitted.items()
        }
        if section.kind in PER_TOKEN:
            predictions["model"] = {side: [predictions_of(section, row) for row in scorer.token_outputs(letters[side])] for side in SIDES}
        else:
            predictions["model"] = {side: predictions_of(section, scorer.outputs(letters[side])) for side in SIDES}
        summary = judge.summarise_targets(section, predictions, {side: targets[side] for side in SIDES}, settings)
        names = section.classes if isinstance(section, MulticlassObjective | LabelsObjective) else columns
        tables = {side: pd.DataFrame(judge.as_rows(predictions["model"][side], names)) for side in SIDES}
    summary["train"] = _read_json(arguments.model / "train.json")
    for side, predicted in tables.items():
        predicted.insert(0, "id", corpus.records["id"].iloc[rows[side]].tolist())
        with whole_file(arguments.output / "predictions" / f"{side}.tsv") as path:
            predicted.to_csv(path, sep="\t", index=False, float_format="%.6g")
    with whole_file(arguments.output / "metrics.json") as path:
        path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    for name, entry in {"model": summary["test"]["model"], **summary["test"]["baselines"]}.items():
        print("evaluate: test " + ", ".join(f"{metric} {value['value']:.3f}" for metric, value in entry.items()) + f"  {name}", flush=True)
    print(f"evaluate: wrote {arguments.output / 'metrics.json'}")


def _named_folder(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder) or name == "model":
        raise argparse.ArgumentTypeError(f"variant must be NAME=DIR with a NAME other than model, got {text!r}")
    return name, Path(folder)


def _rows_of_sides(corpus: Corpus, split_path: Path) -> dict[str, pd.DataFrame]:
    """The labelled records of train, valid and test; the index of each table is the row in the corpus."""
    from selfattn_bio.sequence.splits import read_split

    records = corpus.records.assign(split=read_split(split_path, corpus.records["id"])).reset_index(drop=True)
    records = records[records["label"].notna()]
    rows = {side: records[records["split"] == side] for side in ("train", "valid", "test")}
    for side, table in rows.items():
        if sorted(set(table["label"].astype(int))) != [0, 1]:
            counts = f"{int((table['label'] == 1).sum())} positives and {int((table['label'] == 0).sum())} negatives"
            raise CorpusError(
                f"{side} must hold positives and negatives, got {counts}", place=str(split_path), cure="change [split] in the run file"
            )
    return rows


def _networks(folders: dict[str, Path], letters: Letters) -> dict[str, Classifier]:
    from selfattn_bio.evaluation.summary import SIDES, Classifier, Role
    from selfattn_bio.scoring.scorer import load

    found: dict[str, Classifier] = {}
    for name, folder in folders.items():
        start, scorer = time.monotonic(), load(folder)
        role: Role = "model" if name == "model" else "control" if scorer.run.is_control() else "baseline"
        found[name] = Classifier.of_logits(
            role, {side: scorer.logits(letters[side]) for side in SIDES}, scorer.temperature, scorer.threshold
        )
        print(f"evaluate: {name} ({role}) scored in {time.monotonic() - start:.1f} s", flush=True)
    return found


def _fitted_baselines(corpus: Corpus, letters: Letters, labels: Labels) -> dict[str, Classifier]:
    from selfattn_bio.evaluation.baselines import baselines
    from selfattn_bio.evaluation.calibration import choose_threshold
    from selfattn_bio.evaluation.summary import SIDES, Classifier

    found: dict[str, Classifier] = {}
    for name, baseline in baselines(corpus.alphabet).items():
        start = time.monotonic()
        baseline.fit(letters["train"], labels["train"], letters["valid"], labels["valid"])
        probabilities = {side: baseline.probabilities(letters[side]) for side in SIDES}
        threshold = choose_threshold(probabilities["valid"], labels["valid"])
        found[name] = Classifier("baseline", probabilities, threshold, chosen=baseline.chosen())
        print(f"evaluate: {name} (baseline) fitted in {time.monotonic() - start:.1f} s", flush=True)
    return found


def _properties(corpus: Corpus, letters: Letters) -> dict[str, dict[str, NDArray[np.float64]]]:
    """What test is sliced by: GC content for DNA, length for protein."""
    import numpy as np

    from selfattn_bio.evaluation.baselines import gc_content

    if corpus.alphabet.name == "dna":
        return {"gc": {side: gc_content(letters[side]) for side in ("train", "test")}}
    return {"length": {side: np.array([len(record) for record in letters[side]], dtype=float) for side in ("train", "test")}}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise ModelFolderError(f"{path.name} must be a readable JSON file of the model folder, got {reason}", place=str(path)) from error


def _say(summary: dict[str, Any], output: Path) -> None:
    test = summary["test"]
    for name, entry in {"model": test["model"], **test["baselines"], **test["controls"]}.items():
        auroc = entry["auroc"]
        print(f"evaluate: test AUROC {auroc['value']:.3f} ({auroc['low']:.3f} to {auroc['high']:.3f})  {name}", flush=True)
    best = summary["differences"]["best_baseline"]
    lead = summary["differences"]["baselines"][best]["auroc"]
    print(f"evaluate: model - {best}: {lead['value']:+.3f} ({lead['low']:+.3f} to {lead['high']:+.3f}), p {lead['p']:.2g}")
    print(f"evaluate: wrote {output / 'metrics.json'}")
