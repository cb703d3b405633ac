"""Evaluate a model on validation and test records, next to baselines and controls.

Scores all labelled validation and test records with the model and its variants. Baselines are
fitted to the same training records, and the validation records choose their settings. The test
records are read only here, once.

Writes metrics.json, model_card.md and predictions/{valid,test}.tsv. All metrics have bootstrap
intervals: before and after calibration, within slices of the records, and for the paired
difference between the model and each baseline.

Several models of one name are members: their logits are averaged, and their spread is reported. If
a model has two inputs, its variants first_alone and partner_alone are evaluated as they were
trained, with the other input taken from another record.

example: selfattn-bio evaluate --run-file mine.toml --corpus mine/corpus --split mine/split.tsv \
--model mine/model --output mine
"""

# Long, because each kind of objective is evaluated differently, and all write the same files.
from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfattn_bio.errors import CorpusError, ModelFolderError, OutputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from selfattn_bio.baselines import Baseline
    from selfattn_bio.config import Evaluation, Objective, RunFile
    from selfattn_bio.data.batches import Laid
    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.evaluation.summary import Classifier
    from selfattn_bio.evaluation.targets import Predictions
    from selfattn_bio.scoring.scorer import Scorer
    from selfattn_bio.sequence.alphabet import Alphabet

    Folders = dict[str, list[Path]]  # folders of the members by name
    Letters = dict[str, list[NDArray[np.uint8]]]  # sequences by split
    Labels = dict[str, NDArray[np.int64]]
    Rows = dict[str, NDArray[np.int64]]  # rows of the corpus by split
    # Content of metrics.json, and predictions by split.
    Judged = tuple[dict[str, Any], dict[str, pd.DataFrame]]


BASELINES = "baselines"  # folder below --output for the fitted baselines
PARTNER = "partner_"  # prefix of the baselines of second inputs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio evaluate`."""
    parser.add_argument(
        "--run-file",
        required=True,
        type=Path,
        metavar="FILE",
        help="run file of the task (uses [evaluation])",
    )
    parser.add_argument(
        "--corpus", required=True, type=Path, metavar="DIR", help="corpus folder, from `ingest`"
    )
    parser.add_argument(
        "--split", required=True, type=Path, metavar="FILE", help="split table, from `split`"
    )
    parser.add_argument(
        "--model",
        required=True,
        type=Path,
        nargs="+",
        metavar="DIR",
        help="model folder, from `train`, or the folders of all members",
    )
    parser.add_argument(
        "--variant",
        action="extend",
        nargs="+",
        default=[],
        type=_named_folder,
        metavar="NAME=DIR",
        help="model folders of variants (baselines and controls); repeat NAME=DIR for each member",
    )
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder for metrics.json and predictions/",
    )


def run(arguments: argparse.Namespace) -> None:
    """Score validation and test records, fit baselines, write metrics.json and predictions/."""
    import numpy as np

    from selfattn_bio.config import read_run_file
    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.evaluation.summary import EVALUATED_SPLITS
    from selfattn_bio.files import sha256_of, whole_folder
    from selfattn_bio.model.checkpoint import check_trained_on, read_provenance
    from selfattn_bio.model.lineage import check_unseen
    from selfattn_bio.scoring.stack import fitted_parts
    from selfattn_bio.sequence.splits import read_split

    run_file, corpus = read_run_file(arguments.run_file), Corpus.open(arguments.corpus)
    _check_baselines(arguments.output / BASELINES)
    kind = run_file.objective.kind
    assigned = np.array(read_split(arguments.split, corpus.records["id"]))
    rows = {split: np.flatnonzero(assigned == split) for split in ("train", *EVALUATED_SPLITS)}
    if kind == "binary":
        rows = {
            split: _labelled(corpus, of_split, split, arguments.split)
            for split, of_split in rows.items()
        }
    if empty := [split for split, of_split in rows.items() if not len(of_split)]:
        raise CorpusError(
            f"the {empty[0]} split is empty",
            place=str(arguments.split),
            hint="Change [split] in the run file",
        )
    letters = {
        split: [corpus.letters(int(i)) for i in of_split] for split, of_split in rows.items()
    }
    positive = {
        split: f" ({int((corpus.records['label'].iloc[of] == 1).sum())} positive)"
        if kind == "binary"
        else ""
        for split, of in rows.items()
    }
    print(
        "evaluate: "
        + ", ".join(f"{split} {len(letters[split])} records{positive[split]}" for split in rows),
        flush=True,
    )
    folders: Folders = {"model": arguments.model}
    for name, folder in arguments.variant:
        folders.setdefault(name, []).append(folder)
    _check_strands(arguments.model, run_file)
    for folder in itertools.chain(*folders.values()):
        check_trained_on(folder, corpus.fingerprint, sha256_of(arguments.split))
        _check_objective(folder, run_file.objective)
        check_unseen(
            folder,
            corpus.records.iloc[rows["test"]],
            corpus.each(rows["test"]),
            corpus.alphabet,
            corpus.assembly,
        )
    windows = _fixed_windows(corpus, rows, run_file)
    if windows:
        rows, letters = (
            {split: of.rows for split, of in windows.items()},
            {split: of.letters for split, of in windows.items()},
        )

    origin = {"corpus_fingerprint": corpus.fingerprint, "split_sha256": sha256_of(arguments.split)}
    with whole_folder(
        arguments.output / BASELINES
    ) as saved:  # empty if the objective's baselines cannot be saved
        parts = fitted_parts(arguments.model[0])
        fit = partial(
            _fitted_baselines, run_file=run_file, folder=saved, origin=origin, parts=parts
        )
        binary = partial(_judge_binary, fit=fit)
        judges: dict[str, Callable[..., Judged]] = {
            "binary": binary,
            "bins": _judge_bins,
            "masked": _judge_language,
            "causal": _judge_language,
        }
        summary, tables = judges.get(kind, _judge_targets)(
            folders, corpus, rows, letters, run_file.evaluation
        )
    summary["sizes"] = {name: _size(of) for name, of in folders.items()}
    summary["train"] = _cost(arguments.model)
    _add_layers(summary, arguments.model, letters)
    if privacy := read_provenance(arguments.model[0]).get("privacy"):
        summary["privacy"] = privacy
    if windows:
        summary["window"] = run_file.training.window
        for split, table in tables.items():
            table.insert(1, "start", windows[split].starts)
            table.insert(2, "end", windows[split].ends)
    _write(arguments.output, summary, tables, arguments.model)
    {"binary": _say, "bins": _say_bins}.get(kind, _say_metrics)(summary)
    _say_members(summary["test"])
    if privacy:
        print(
            f"evaluate: private: epsilon {privacy['epsilon']:.2f} was spent at delta "
            f"{privacy['delta']:g} (docs/privacy.md)",
            flush=True,
        )
    print(f"evaluate: wrote {arguments.output / 'metrics.json'}")


def _check_baselines(folder: Path) -> None:
    """Refuse a folder with other files than saved baselines, because it will be replaced."""
    from selfattn_bio.baselines import is_baseline
    from selfattn_bio.files import OF_SNAKEMAKE

    within = [folder] if folder.is_file() else sorted(folder.glob("*"))
    if foreign := [
        path.name for path in within if path.name != OF_SNAKEMAKE and not is_baseline(path)
    ]:
        message = (
            f"the fitted baselines replace this folder, but it holds {foreign[0]!r}, which "
            "is not a baseline"
        )
        raise OutputError(
            message, place=str(folder), hint="Choose another --output, or move it away"
        )


def _write(
    output: Path, summary: dict[str, Any], tables: dict[str, pd.DataFrame], folders: list[Path]
) -> None:
    """Write predictions/, metrics.json, and the card of the model with these member folders."""
    from selfattn_bio.files import whole_file
    from selfattn_bio.model.card import model_card

    for split, table in tables.items():
        with whole_file(output / "predictions" / f"{split}.tsv") as path:
            table.to_csv(path, sep="\t", index=False, float_format="%.6g")
    with whole_file(output / "metrics.json") as path:
        path.write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    valid = {
        name: of["value"]
        for name, of in summary["valid"]["model"].items()
        if isinstance(of, dict) and "low" in of
    }
    with whole_file(output / "model_card.md") as path:
        path.write_text(
            model_card(folders[0], valid, summary["test"]["model"], folders[1:]), encoding="utf-8"
        )


def _fixed_windows(corpus: Corpus, rows: Rows, run_file: RunFile) -> dict[str, Laid]:
    """Return the windows of each split if [training] window is set; otherwise an empty dict."""
    from selfattn_bio.data.batches import laid_windows

    if (window := run_file.training.window) is None:
        return {}
    k = max(run.tokens.k for run in (run_file, *map(run_file.variant, run_file.variants)))
    windows = {split: laid_windows(corpus, of_split, window, k) for split, of_split in rows.items()}
    counts = ", ".join(f"{split} {len(of.rows):,}" for split, of in windows.items())
    print(
        f"evaluate: adjacent windows of at most {window:,} {corpus.alphabet.unit}, evenly "
        f"subsampled if there are too many: {counts}",
        flush=True,
    )
    return windows


def _check_objective(folder: Path, objective: Objective) -> None:
    """Refuse a model whose objective differs from the run file's: its outputs would be misread."""
    from selfattn_bio.config import read_run_file
    from selfattn_bio.model.checkpoint import RUN

    own = read_run_file(folder / RUN).objective
    (found, wanted) = (
        (each.kind, each.target_columns, getattr(each, "bin", None)) for each in (own, objective)
    )
    if found != wanted:
        shown = [
            " ".join(str(part) for part in (kind, *columns, bin_) if part)
            for kind, columns, bin_ in (wanted, found)
        ]
        hint = "Train it again, as a variant of this run file"
        raise ModelFolderError(
            f"the model has the objective {shown[1]}, the run file {shown[0]}",
            place=str(folder),
            hint=hint,
        )


def _check_strands(folders: list[Path], run_file: RunFile) -> None:
    """Refuse a model that reads other strands than the run file, which its baselines follow."""
    from selfattn_bio.config import read_run_file
    from selfattn_bio.model.checkpoint import RUN

    names = {True: "both strands", False: "the given strand"}
    for folder in folders:
        if (own := read_run_file(folder / RUN).both_strands) != run_file.both_strands:
            raise ModelFolderError(
                f"the model scores {names[own]}, but the run file {names[not own]}",
                place=str(folder),
                hint="Undo the change of the strands in the run file, or train the model again",
            )


def _judge_binary(
    folders: Folders,
    corpus: Corpus,
    rows: Rows,
    letters: Letters,
    settings: Evaluation,
    *,
    fit: Callable[..., dict[str, Classifier]],
) -> Judged:
    """Evaluate two classes: metrics with intervals, calibration, differences, slices.

    `fit` fits the baselines for an alphabet.
    """
    from selfattn_bio.evaluation.summary import EVALUATED_SPLITS, predictions_table, summarise

    labels = {
        split: corpus.records["label"].iloc[of_split].to_numpy(dtype="int64")
        for split, of_split in rows.items()
    }
    classifiers: dict[str, Classifier] = {}
    for name, members in folders.items():
        classifiers |= _networks(name, members, corpus, rows, labels)
    classifiers |= fit(corpus.alphabet, letters, labels)
    if corpus.partner and corpus.partner.alphabet.name != "levels":
        of_partners = {
            split: [corpus.partner_letters(int(i)) for i in of_split]
            for split, of_split in rows.items()
        }
        classifiers |= fit(corpus.partner.alphabet, of_partners, labels, prefix=PARTNER)
    groups = _groups(folders["model"][0], corpus, rows, settings)
    summary = summarise(classifiers, labels, _properties(corpus, letters), settings, groups)
    return summary, {
        split: predictions_table(_ids(corpus, rows[split]), labels[split], classifiers, split)
        for split in EVALUATED_SPLITS
    }


def _judge_targets(
    folders: Folders, corpus: Corpus, rows: Rows, letters: Letters, settings: Evaluation
) -> Judged:
    """Evaluate objectives with classes, labels or numbers, per sequence or per position.

    Metrics have intervals, and are compared with simple baselines and the variants.
    """
    import pandas as pd

    from selfattn_bio.config import LabelsObjective
    from selfattn_bio.evaluation.measures import targets_of
    from selfattn_bio.evaluation.summary import EVALUATED_SPLITS
    from selfattn_bio.evaluation.targets import (
        as_rows,
        fit_baselines,
        mean_predictions,
        summarise_members,
        summarise_targets,
    )
    from selfattn_bio.scoring.scorer import load

    models = {name: load(members) for name, members in folders.items()}
    section = models["model"].run.objective
    table, place = corpus.targets(section.target_columns), corpus.summary["targets"]["path"]
    targets = {
        split: targets_of(section, table.iloc[of], corpus.records.iloc[of], place)
        for split, of in rows.items()
    }
    fitted = fit_baselines(
        section,
        corpus.alphabet,
        letters["train"],
        targets["train"],
        letters["valid"],
        targets["valid"],
    )
    predictions: dict[str, dict[str, Any]] = {
        name: {split: predict(letters[split]) for split in EVALUATED_SPLITS}
        for name, predict in fitted.items()
    }
    each: dict[str, dict[str, list[Predictions]]] = {}  # outputs of each member by name and split
    for name, model in models.items():
        each[name] = {split: [] for split in EVALUATED_SPLITS}
        for member in model.members:
            inputs, predict = (
                _inputs(member, corpus, rows),
                member.token_outputs if isinstance(section, LabelsObjective) else member.outputs,
            )
            for split in EVALUATED_SPLITS:
                each[name][split].append(predict(inputs[split]))
        predictions[name] = {
            split: mean_predictions(section, of_members) for split, of_members in each[name].items()
        }
    summary = summarise_targets(
        section, predictions, {split: targets[split] for split in EVALUATED_SPLITS}, settings
    )
    for split in EVALUATED_SPLITS:
        several = {name: of[split] for name, of in each.items() if len(of[split]) > 1}
        if several:
            summary[split]["members"] = {
                name: summarise_members(section, of, targets[split]) for name, of in several.items()
            }
    outputs = {
        split: as_rows(predictions["model"][split], section.output_names)
        for split in EVALUATED_SPLITS
    }
    return summary, {
        split: pd.DataFrame({"id": _ids(corpus, rows[split]), **outputs[split]})
        for split in EVALUATED_SPLITS
    }


def _judge_bins(
    folders: Folders, corpus: Corpus, rows: Rows, letters: Letters, settings: Evaluation
) -> Judged:
    """Evaluate whether bins contain a point, next to baselines and the variants.

    The baselines read base content and 5-mers. Intervals resample blocks of chromosomes. The tables
    have one row per bin.
    """
    import numpy as np

    from selfattn_bio.config import BinsObjective
    from selfattn_bio.evaluation.bins import check_blocks, fit_bin_baselines, summarise_bins
    from selfattn_bio.evaluation.points import Bins, chance, check_judged, points_of
    from selfattn_bio.evaluation.summary import EVALUATED_SPLITS
    from selfattn_bio.files import sha256_of
    from selfattn_bio.scoring.scorer import load

    models = {name: load(members) for name, members in folders.items()}
    section = models["model"].run.objective
    assert isinstance(section, BinsObjective)  # checked by `_check_objective`
    found = sha256_of(section.points)
    for name, model in models.items():
        if (learnt := getattr(model.run.objective, "points_sha256", "")) != found:
            message = (
                f"{name} was trained on other points: their sha256 begins with {learnt[:12]}, "
                f"that of this file with {found[:12]}"
            )
            raise ModelFolderError(message, place=section.points, hint="Train it again")
    points = {
        split: points_of(section.points, corpus.records.iloc[of]) for split, of in rows.items()
    }
    for split in EVALUATED_SPLITS:
        check_judged(points[split], section.bin, split, str(corpus.path))
    bins = {split: Bins.of(points[split], section.bin) for split in EVALUATED_SPLITS}
    check_blocks(bins, settings.block)
    chances, members = {}, {}
    for name, model in models.items():
        start = time.monotonic()
        rates = {
            split: np.stack(
                [bins[split].joined(each.log_rates(letters[split])) for each in model.members]
            )
            for split in EVALUATED_SPLITS
        }
        chances[name] = {split: chance(of_split.mean(axis=0)) for split, of_split in rates.items()}
        if len(model.members) > 1:
            members[name] = {split: chance(of_split) for split, of_split in rates.items()}
        print(f"evaluate: {name} scored in {time.monotonic() - start:.1f} s", flush=True)
    start = time.monotonic()
    chances |= fit_bin_baselines(corpus.alphabet, letters, points, section.bin)
    print(f"evaluate: sequence baselines fitted in {time.monotonic() - start:.1f} s", flush=True)
    summary = summarise_bins(chances, members, bins, settings)
    summary["costs"] = {name: _cost(paths) for name, paths in folders.items()}
    columns = {
        split: {name: of[split] for name, of in chances.items()} for split in EVALUATED_SPLITS
    }
    return summary, {
        split: bins[split].table.assign(
            end=bins[split].table["start"] + section.bin, **columns[split]
        )
        for split in EVALUATED_SPLITS
    }


def _judge_language(
    folders: Folders, corpus: Corpus, rows: Rows, letters: Letters, settings: Evaluation
) -> Judged:
    """Evaluate a language model by perplexity with intervals.

    It is compared with token frequencies or a Markov chain, and with the variants.
    """
    import numpy as np
    import pandas as pd

    from selfattn_bio.evaluation.summary import EVALUATED_SPLITS
    from selfattn_bio.evaluation.targets import markov_nats, summarise_language, unigram_nats
    from selfattn_bio.scoring.scorer import load
    from selfattn_bio.training.objectives import build_language_model

    sums = {}
    for name, members in folders.items():
        scorer = load(members).members[
            0
        ]  # always one member, because `load` does not average language models
        language = build_language_model(scorer.run.objective, scorer.tokenizer)
        letters_of_token = language.letters
        sums[name] = {split: language.sums(scorer, letters[split]) for split in EVALUATED_SPLITS}
    both = {split: letters[split] for split in EVALUATED_SPLITS}
    if letters_of_token is None:
        baselines = {"unigram": unigram_nats(scorer.tokenizer, letters["train"], both)}
    else:
        nats = markov_nats(corpus.alphabet, letters["train"], letters["valid"], both)
        baselines = {
            "markov": {split: of_split * letters_of_token for split, of_split in nats.items()}
        }
    summary = summarise_language(sums, letters_of_token, baselines, settings)
    tables = {}
    for split in EVALUATED_SPLITS:
        total, right, tokens = sums["model"][split].T
        mean = np.divide(total, tokens, out=np.full(len(total), np.nan), where=tokens > 0)
        tables[split] = pd.DataFrame(
            {
                "id": _ids(corpus, rows[split]),
                "nats_per_token": mean,
                "right": right.astype(int),
                "tokens": tokens.astype(int),
            }
        )
    return summary, tables


def _add_layers(summary: dict[str, Any], folders: list[Path], letters: Letters) -> None:
    """Add the number of layers used by a model with exits, averaged over records and members."""
    import numpy as np

    from selfattn_bio.config import AttentionModel, NoExits, read_run_file
    from selfattn_bio.evaluation.summary import EVALUATED_SPLITS
    from selfattn_bio.model.checkpoint import RUN
    from selfattn_bio.scoring.scorer import load

    section = read_run_file(folders[0] / RUN).model
    if not isinstance(section, AttentionModel) or isinstance(section.exits, NoExits):
        return
    members, shown = load(folders).members, []
    of = max(len(body.encoder.blocks) for member in members for body in member.network.members)  # type: ignore[arg-type, union-attr]
    for split in EVALUATED_SPLITS:
        mean = float(np.mean([member.depths(letters[split]).mean() for member in members]))
        summary[split]["layers"] = {"mean": mean, "of": of}
        shown.append(f"{split} {mean:.2f}")
    print(
        f"evaluate: mean number of layers used per record, of {of}: {', '.join(shown)}",
        flush=True,
    )


def _named_folder(text: str) -> tuple[str, Path]:
    from selfattn_bio.baselines import BASELINES as KINDS
    from selfattn_bio.evaluation.summary import NETWORK

    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"write NAME=DIR, not {text!r}")
    if name in ("model", NETWORK) or name.removeprefix(PARTNER) in KINDS:
        raise argparse.ArgumentTypeError(
            f"{name!r} is the name of the model or of a baseline; choose another name"
        )
    return name, Path(folder)


def _ids(corpus: Corpus, rows: NDArray[np.int64]) -> list[str]:
    return corpus.records["id"].iloc[rows].tolist()


def _labelled(
    corpus: Corpus, rows: NDArray[np.int64], split: str, split_path: Path
) -> NDArray[np.int64]:
    """Return the labelled rows of a split; both labels must occur."""
    labels = corpus.records["label"].iloc[rows]
    if sorted(set(labels.dropna().astype(int))) != [0, 1]:
        counts = f"{int((labels == 1).sum())} positives and {int((labels == 0).sum())} negatives"
        raise CorpusError(
            f"the {split} split has {counts}; it needs both",
            place=str(split_path),
            hint="Change [split] in the run file",
        )
    return rows[labels.notna().to_numpy()]


def _inputs(scorer: Scorer, corpus: Corpus, rows: Rows) -> dict[str, list[Any]]:
    """Return the model's inputs for the records of each split."""
    from selfattn_bio.data.inputs import inputs_of

    inputs = inputs_of(scorer.run, corpus)
    return {split: [inputs.of(int(row)) for row in of_split] for split, of_split in rows.items()}


def _networks(
    name: str, folders: list[Path], corpus: Corpus, rows: Rows, labels: Labels
) -> dict[str, Classifier]:
    """Score with a model folder, or with the mean logit of several.

    If the model is stacked, its network alone is also evaluated, under the name NETWORK.
    """
    import numpy as np

    from selfattn_bio.baselines import Calibration
    from selfattn_bio.evaluation.summary import EVALUATED_SPLITS, NETWORK, Classifier, Role
    from selfattn_bio.scoring.scorer import Ensemble, load

    start, scorers = time.monotonic(), [load(folder) for folder in folders]
    first = scorers[0]
    role: Role = "model" if name == "model" else "control" if first.run.is_control() else "baseline"
    inputs = [_inputs(scorer, corpus, rows) for scorer in scorers]
    alone, logits = {}, {}  # arrays (members, records) by split
    for split in EVALUATED_SPLITS:
        alone[split] = np.stack(
            [
                scorer.network_outputs(of[split])[:, :, 0].mean(1)
                for scorer, of in zip(scorers, inputs, strict=True)
            ]
        )
        pairs = zip(scorers, alone[split], inputs, strict=True)
        logits[split] = np.stack(
            [scorer.stacked(network, of[split]) for scorer, network, of in pairs]
        )
    print(f"evaluate: {name} ({role}) scored in {time.monotonic() - start:.1f} s", flush=True)
    if len(scorers) == 1:
        of_one = {split: of_split[0] for split, of_split in logits.items()}
        found = {name: Classifier.of_logits(role, of_one, first.temperature, first.threshold)}
    else:  # nothing is fitted again, so that the output of `score` is evaluated
        mean = Ensemble(tuple(scorers))
        found = {name: Classifier.of_members(role, logits, mean.temperature, mean.threshold)}
    if role == "model" and any(scorer.stack for scorer in scorers):
        of_networks = {split: of_split.mean(axis=0) for split, of_split in alone.items()}
        fitted = Calibration.fit(of_networks["valid"], labels["valid"])
        found[NETWORK] = Classifier.of_logits(
            "baseline", of_networks, fitted.temperature, fitted.threshold
        )
    return found


def _fitted_baselines(
    alphabet: Alphabet,
    letters: Letters,
    labels: Labels,
    *,
    run_file: RunFile,
    folder: Path,
    origin: dict[str, str],
    parts: Mapping[str, Baseline],
    prefix: str = "",
) -> dict[str, Classifier]:
    """Fit the baselines that suit the records, and save each to its folder below `folder`.

    `parts` were fitted to the same records for the model's stack. They are not fitted again if
    their strands and database are those of the run file. Baselines of a private run are not saved,
    because their weights would reveal its records.
    """
    from dataclasses import replace

    from selfattn_bio.baselines import suitable
    from selfattn_bio.evaluation.summary import EVALUATED_SPLITS, Classifier
    from selfattn_bio.scoring.scorer import policy_of
    from selfattn_bio.scoring.stack import baseline_setup

    policy = replace(policy_of(run_file.data), alphabet=alphabet)
    setup = baseline_setup(run_file, policy, threads=0)
    found: dict[str, Classifier] = {}
    for kind, obstacle in suitable(setup, letters["train"]):
        name = prefix + kind.name
        if obstacle:
            print(f"evaluate: {name} (baseline, {kind.title}) left out: {obstacle}", flush=True)
            continue
        start = time.monotonic()
        baseline = parts.get(name)
        if baseline is None or not baseline.fitted_as(setup):
            baseline = kind(setup).fit(
                letters["train"], labels["train"], letters["valid"], labels["valid"]
            )
        logits = {split: baseline.logits(letters[split]) for split in EVALUATED_SPLITS}
        temperature, threshold = baseline.calibration.temperature, baseline.calibration.threshold
        found[name] = Classifier.of_logits(
            "baseline", logits, temperature, threshold, chosen=baseline.chosen()
        )
        if run_file.privacy is None:
            baseline.save(folder / name, origin)
        print(
            f"evaluate: {name} (baseline, {kind.title}) fitted in {time.monotonic() - start:.1f} s",
            flush=True,
        )
    return found


def _properties(corpus: Corpus, letters: Letters) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Return the properties by which the test records are sliced.

    For DNA this is GC content. For proteins it is length, and whether a record begins with M, as
    complete chains do but fragments usually do not.
    """
    import numpy as np

    from selfattn_bio.evaluation.composition import gc_content

    if corpus.alphabet.name == "dna":
        return {"gc": {split: gc_content(letters[split]) for split in ("train", "test")}}
    of_record = {"length": len, "begins_with_m": lambda record: record[0] == ord("M")}
    return {
        name: {
            split: np.array([of(record) for record in letters[split]], dtype=float)
            for split in ("train", "test")
        }
        for name, of in of_record.items()
    }


def _groups(
    folder: Path, corpus: Corpus, rows: Rows, settings: Evaluation
) -> dict[str, NDArray[np.object_]]:
    """Return the groups of the test records.

    GC content (DNA), length and chromosome are used if they have several groups; thousands of
    contigs are left out. The columns of [evaluation] groups, and the column by which training was
    balanced, are always used.
    """
    from selfattn_bio.config import read_run_file
    from selfattn_bio.evaluation.groups import MOST, groups_of
    from selfattn_bio.model.checkpoint import RUN

    balance = read_run_file(folder / RUN).training.balance
    known = {
        "gc": corpus.alphabet.name == "dna",
        "length": True,
        "chrom": len(set(corpus.records["chrom"].dropna())) < MOST,
    }
    asked = {*settings.groups, *([balance.by] if balance else [])}
    found = {}
    for by in dict.fromkeys([*(name for name, fits in known.items() if fits), *sorted(asked)]):
        bins = balance.bins if balance and balance.by == by else settings.gc_slices
        test = groups_of(by, corpus, rows, bins)["test"]
        if by in asked or len(set(test)) > 1:
            found[by] = test
    return found


def _size(folders: list[Path]) -> dict[str, int]:
    """Count the networks and trainings of these folders, and the parts of the first one's stack."""
    from selfattn_bio.config import read_run_file
    from selfattn_bio.model.checkpoint import RUN, read_stack_weights

    runs = [read_run_file(folder / RUN) for folder in folders]
    size = {"networks": sum(run.model.members for run in runs), "trainings": len(runs)}
    stack = read_stack_weights(folders[0])
    return size | ({"parts": len(stack.parts)} if stack and stack.parts else {})


def _cost(folders: list[Path]) -> dict[str, Any]:
    """Return the cost of training: for several members total time, peak memory, mean speed."""
    from selfattn_bio.model.checkpoint import TRAINING_COST

    each = [_read_json(folder / TRAINING_COST) for folder in folders]
    if len(each) == 1:
        return each[0]
    seconds, memory, speed = (
        [of[key] for of in each] for key in ("seconds", "peak_memory_mb", "letters_per_second")
    )
    return {
        "seconds": sum(seconds),
        "peak_memory_mb": max(memory),
        "letters_per_second": sum(speed) / len(speed),
        "members": each,
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise ModelFolderError(
            f"cannot read {path.name} of the model folder: {reason}",
            place=str(path),
        ) from error


def _say_members(test: dict[str, Any]) -> None:
    for name, of in test.get("members", {}).items():
        alone = (
            f"test {of['metric'].upper()} of each alone {of['min']:.3f} to {of['max']:.3f}, "
            if of["min"] is not None
            else ""
        )
        print(
            f"evaluate: {name} is the mean of {len(of['each'])} members: {alone}mean standard "
            f"deviation of a score over members {of['spread']:.3f}",
            flush=True,
        )


def _say_metrics(summary: dict[str, Any]) -> None:
    for name, entry in {"model": summary["test"]["model"], **summary["test"]["baselines"]}.items():
        known = {
            metric: value["value"] for metric, value in entry.items() if value["value"] is not None
        }
        print(
            "evaluate: test "
            + ", ".join(f"{metric} {value:.3f}" for metric, value in known.items())
            + f"  {name}",
            flush=True,
        )


def _say_bins(summary: dict[str, Any]) -> None:
    test, leads = summary["test"], summary["differences"]["baselines"]
    print(
        f"evaluate: test {test['n']} bins, {test['positives']} with a point, in {test['blocks']} "
        f"blocks of {summary['block']:,} bp"
    )
    for name, entry in {"model": test["model"], **test["baselines"]}.items():
        auprc = entry["auprc"]
        shown = (
            f"test AUPRC {auprc['value']:.3f} ({auprc['low']:.3f} to {auprc['high']:.3f}), "
            f"AUROC {entry['auroc']['value']:.3f}"
        )
        lead = ""
        for who, of in (
            ("model", leads),
            ("first member of the model", summary["differences"].get("first_member", {})),
        ):
            if difference := of.get(name, {}).get("auprc"):
                lead += (
                    f"; {who} minus {name} {difference['value']:+.3f} ({difference['low']:+.3f} "
                    f"to {difference['high']:+.3f})"
                )
        print(f"evaluate: {shown}, MCC {entry['mcc']['value']:.3f}  {name}{lead}", flush=True)


def _say_calls(name: str, entry: dict[str, Any]) -> None:
    """Print MCC, accuracy and F1 at the threshold chosen on the validation records and at 0.5."""
    from selfattn_bio.evaluation.metrics import AT_HALF

    for where, ending in (
        (f"threshold {entry['threshold']:.3f}, chosen on valid", ""),
        ("threshold 0.5", AT_HALF),
    ):
        mcc, accuracy, f1 = (
            entry[f"{metric}{ending}"]["value"] for metric in ("mcc", "accuracy", "f1")
        )
        print(
            f"evaluate: test MCC {mcc:.3f}, accuracy {accuracy:.3f}, F1 {f1:.3f} at {where}  "
            f"{name}",
            flush=True,
        )


def _say(summary: dict[str, Any]) -> None:
    from selfattn_bio.report.words import classifier_name, comparison

    test, best = summary["test"], summary["differences"]["best_baseline"]
    for name, entry in {"model": test["model"], **test["baselines"], **test["controls"]}.items():
        auroc = entry["auroc"]
        chance = " (negative control; 0.5 is chance level)" if name in test["controls"] else ""
        title = f" ({classifier_name(name)})" if name in test["baselines"] else ""
        print(
            f"evaluate: test AUROC {auroc['value']:.3f} ({auroc['low']:.3f} to "
            f"{auroc['high']:.3f})  {name}{title}{chance}",
            flush=True,
        )
    for name, entry in {"model": test["model"], best: test["baselines"][best]}.items():
        _say_calls(name, entry)
    for by, found in summary["groups"].items():
        if gap := found["gap"]:
            auroc = {
                entry["group"]: entry["model"]["auroc"]["value"]
                for entry in found["groups"]
                if entry["model"]
            }
            low, high = gap["auroc"]["low"], gap["auroc"]["high"]
            shown = (
                f"worst {found['worst']!r} {auroc[found['worst']]:.3f}, gap "
                f"{gap['auroc']['value']:.3f} ({low:.3f} to {high:.3f})"
            )
            print(f"evaluate: AUROC by {by}: {shown}", flush=True)
    print(f"evaluate: {' '.join(comparison(summary))}", flush=True)
