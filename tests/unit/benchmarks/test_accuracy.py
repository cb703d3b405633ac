"""Test the accuracy benchmark, with one training of a tiny network per kind of set."""

import gzip
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tomli_w
from commands import exit_code

from selfattn_bio.evaluation.metrics import ResampledMetric
from selfattn_bio.objectives.loss import UNKNOWN

SIZES = {"members": 1, "embed_dim": 8, "num_layers": 1, "num_heads": 2, "feedforward_dim": 8}
NETWORK = {"kind": "attention", "stem": {"kind": "none"}, **SIZES}
TOWER = {
    **{"kind": "tower", "token_dim": 4, "channels": [8]},
    **{"kernels": [5, 3], "pools": [5, 2], "residual_kernel": 3},
}
TRAINING = {"max_steps": 4, "evaluate_every": 2, "batch_size": 8, "shift": 0}
CLASSES = {
    "data": {"positives": "p.fa", "negatives": "n.fa"},
    "split": {"kind": "random", "valid_fraction": 0.3, "test_fraction": 0.3},
    "tokens": {"k": 1},
    "model": NETWORK,
    "training": TRAINING | {"max_steps": 60, "warmup_steps": 5, "evaluate_every": 20},
    "stack": {"parts": ["exact_positions"]},
    "evaluation": {"bootstraps": 20},
    "interpret": {"database": "none"},
}
NUMBERS = {
    **CLASSES,
    "data": {"sequences": "table.csv"},
    "split": {"kind": "column"},
    "objective": {"kind": "regression", "columns": ["strength"]},
    "training": TRAINING,
    "stack": {"parts": ["exact_positions_linear"]},
}
TOWERED = {"tokens": {"k": 1}, "model": NETWORK | {"stem": TOWER}, "training": TRAINING}
DILATED = {"kind": "dilated", "embed_dim": 8, "stem": TOWER, "dilations": [1]}
PARENT = {**CLASSES, **TOWERED, "stack": {"parts": []}, "variants": {}}
BINS = {
    "data": {"sequences": "s.fa"},
    "split": {"kind": "chromosome", "valid": ["c1"], "test": ["c2"]},
    "objective": {"kind": "bins", "points": "points.bed", "bin": 20},
    "transfer": {"parent": "tiny_parent"},
    "evaluation": {"bootstraps": 20, "block": 100},
    "variants": {"dilated_3500": {"transfer": {"parent": "tiny_parent"}, "model": DILATED}},
    **TOWERED,
}


def write_chains(folder, name, rows):
    """Write NAME.tsv.gz with id, residues, labels and mask, as the set protein_ss3."""
    mask = "eval_mask" if name == "ts115" else "resolved_mask"
    lines = ["\t".join(row) for row in (("id", "sequence", "ss3", mask), *rows)]
    with gzip.open(folder / f"{name}.tsv.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")


def test_code_hash_of_changed_files(tmp_path, monkeypatch):
    import comparison

    package = Path(comparison.selfattn_bio.__file__).parent
    stated = (  # figures change with each of these
        *("evaluation/calibration.py", "motifs/jaspar/plants.meme.gz", "wizard/draft.py"),
        *("config/training.py", "attention/kernels/band/band.cpp", "study/training.py"),
    )
    left_out = ("cli/main.py", "report/__init__.py", "evidence/verdicts.py")
    for name in (*stated, *left_out):
        assert (package / name).is_file()
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    changed = SimpleNamespace(__file__=tmp_path / "__init__.py")
    monkeypatch.setattr(comparison, "selfattn_bio", changed)
    hashes = [comparison.code_hash()]
    for name in (*stated, *left_out):
        (tmp_path / name).write_text("changed")
        hashes.append(comparison.code_hash())
    assert len(set(hashes)) == 1 + len(stated)


def sampled(value, spread=0.01):
    """Return a metric whose bootstrap samples are evenly spread around its value."""
    return ResampledMetric(value, value + np.linspace(-spread, spread, 101))


def test_mean_over_seeds_bootstraps_records():
    import comparison

    mean = comparison.mean_of([sampled(0.6), sampled(0.8)])
    assert mean.value == pytest.approx(0.7)
    # both use the same bootstrap samples of records
    assert mean.minus(sampled(0.7))["high"] == pytest.approx(0)


@pytest.mark.parametrize(
    ("model", "verdict"), [(0.9, "yes, ahead"), (0.702, "no"), (0.5, "yes, behind")]
)
def test_verdict_depends_on_interval_excluding_0(model, verdict):
    from comparison import Comparison

    row = Comparison(
        metric="MCC",
        valid=0.5,
        model=sampled(model, 0.02),
        by_seed=[0.9],
        network=sampled(0.7),
        baselines={"weak": sampled(0.1), "strong": sampled(0.7)},
        seconds=7.0,
    ).row("a set", "1", "")
    assert row["interval over records excludes 0"] == f"{verdict} (one training)"
    assert row["best simple baseline"] == "0.700 (strong)"


def test_q3_counts_known_residues_and_bootstraps_chains():
    import protein_ss3

    targets = [np.array([0, 1, UNKNOWN]), np.array([2, 2])]
    right, half = (np.eye(3)[classes] for classes in ([0, 1, 0], [2, 0]))
    found = protein_ss3.sampled_q3([right, half], targets)
    assert found.value == 3 / 4
    # one chain twice, both chains, the other chain twice
    assert sorted(set(found.draws.tolist())) == [0.5, 0.75, 1.0]


def test_chains_similar_to_test_are_dropped(tmp_path):
    import protein_ss3

    own = "ACDEFGHIKLMNPQRSTVWY" * 3
    train = {"same": own, "part": "W" * 100 + own[:30], "other": "GAVLIMFWP" * 8, "short": "ACD"}
    sets = {"train": train, "val": {"other": "KRHDE" * 4}, "ts115": {"test": own}}
    for name, rows in sets.items():
        chains = [(id, row, "H" * len(row), "0" + "1" * (len(row) - 1)) for id, row in rows.items()]
        write_chains(tmp_path, name, chains)
    read = protein_ss3.read_chains(tmp_path)
    assert read["id"].tolist() == ["test_test", "train_other", "train_short", "valid_other"]
    assert read["ss3"].str[:3].unique().tolist() == ["-HH"]


def test_missing_sets_are_an_error(tmp_path, monkeypatch):
    import accuracy

    monkeypatch.setenv("SELFATTN_BENCH", str(tmp_path / "none"))
    with pytest.raises(SystemExit, match=r"^error: .*/none: no such folder; .* --bench DIR or"):
        accuracy.main([])
    with pytest.raises(SystemExit, match=r"^error: .*gue_tf4: no such folder; known sets are gue"):
        accuracy.main(["gue_tf4", "--bench", str(tmp_path)])


@pytest.fixture
def trained(here, monkeypatch):
    """Train in this process, in an empty folder; return the list of trained studies."""
    import runs

    studies = []

    def in_process(name, study, *options):
        studies.append(str(study))
        assert exit_code(name, study, *options) == 0

    monkeypatch.setattr(runs, "command", in_process)
    # in turn, because only the main thread receives the signals of a training
    in_turn = nullcontext(SimpleNamespace(map=map))
    monkeypatch.setattr(runs, "ThreadPoolExecutor", lambda workers: in_turn)
    return studies


def write_two_classes():
    rng = np.random.default_rng(0)
    for name in "pn":
        rows = ["".join(rng.choice(list("ACGT"), 30)) for _ in range(60)]
        rows = [row[:10] + "TATA" + row[14:] if name == "p" else row for row in rows]
        Path(f"{name}.fa").write_text("".join(f">{name}{i}\n{row}\n" for i, row in enumerate(rows)))


def test_two_classes(trained, monkeypatch):
    import accuracy

    from selfattn_bio import Study

    write_two_classes()
    thresholds = []

    class Recorded(accuracy.Bootstrap):
        def metrics(self, probabilities, threshold):
            thresholds.append(threshold)
            return super().metrics(probabilities, threshold)

    def compare(seeds):
        thresholds.clear()
        return accuracy.compare_records(CLASSES, Path("set"), seeds, "mcc")

    monkeypatch.setattr(accuracy, "Bootstrap", Recorded)
    monkeypatch.setattr(accuracy, "DRAWS", 50)
    found = compare(2)
    assert {"exact_positions", "gc", "kmer6_logistic"} <= found.baselines.keys()
    assert found.stacked_with == ["exact_positions"]
    assert found.model.value > found.network.value
    assert found.parts
    assert found.parts.value > 0.8  # TATA at one position
    assert len(found.by_seed) == 2

    one = compare(1)
    assert trained == ["set", "set/members/2"]  # nothing changed, so nothing is trained again
    test = Study("set").evaluation.metrics["test"]
    assert one.model.value == one.by_seed[0] == pytest.approx(test["model"]["mcc"]["value"])
    for name, baseline in one.baselines.items():
        assert baseline.value == pytest.approx(test["baselines"][name]["mcc"]["value"])
    assert one.at_half
    assert one.auroc
    assert one.at_half.model.value == pytest.approx(test["model"]["mcc_at_half"]["value"])
    assert one.auroc.model.value == pytest.approx(test["model"]["auroc"]["value"])

    # nothing is chosen on test: with permuted test labels all thresholds are the same
    chosen, records_of = thresholds.copy(), accuracy.records_of

    def permuted_records(study):
        records = records_of(study)
        labels, in_test = records.corpus.records["label"].to_numpy().copy(), records.rows["test"]
        labels[in_test] = np.random.default_rng(1).permutation(labels[in_test])
        records.corpus.records["label"] = labels
        return records

    assert 0.5 not in chosen  # which would be the threshold of an untrained network
    monkeypatch.setattr(accuracy, "records_of", permuted_records)
    permuted = compare(1)
    assert thresholds == chosen
    assert permuted.model.value < one.model.value - 0.3


def test_numbers(trained, monkeypatch):
    import accuracy

    from selfattn_bio import Study

    monkeypatch.setattr(accuracy, "DRAWS", 20)
    rng = np.random.default_rng(0)
    rows = ["".join(rng.choice(list("ACGT"), 20)) for _ in range(90)]
    lines = [
        f"{row},{row[5:15].count('A')},{('train', 'valid', 'test')[i % 3]}\n"
        for i, row in enumerate(rows)
    ]
    Path("table.csv").write_text("sequence,strength,split\n" + "".join(lines))
    found = accuracy.compare_records(NUMBERS, Path("set"), 1, "spearman")
    test = Study("set").evaluation.metrics["test"]
    each = {"model": found.model, **found.baselines, "network": found.network}
    of_test = {**test["baselines"], "model": test["model"]}
    # the constant has no correlation
    for name in each.keys() - {"constant"}:
        assert each[name].value == pytest.approx(of_test[name]["spearman"]["value"])
    # the number is a sum over positions, which a network does not learn in 4 steps
    assert found.parts.value > found.network.value + 0.3
    assert found.best != "constant"
    row = found.row("set", "1", "")
    assert row["metric"] == "Spearman's rho"
    assert row["at 0.5: model - baseline"] == row["AUROC: model - baseline"] == "-"


def test_bins_of_a_chromosome(trained, monkeypatch):
    import tss

    write_two_classes()
    rng = np.random.default_rng(0)
    chroms = {name: "".join(rng.choice(list("ACGT"), 800)) for name in ("c0", "c1", "c2")}
    records, points = [], []
    for name, text in chroms.items():
        for start in range(0, 800, 200):
            head = f"{name}_{start} chrom={name} start={start} end={start + 200} strand=+"
            records.append(f">{head}\n{text[start : start + 200]}\n")
            points.append(f"{name}\t{start + 30}\t{start + 31}\tp\t0\t+\n")
    Path("s.fa").write_text("".join(records))
    Path("points.bed").write_text("".join(points))
    tss.TASKS.mkdir(parents=True)
    for name, values in {"tiny": BINS, "tiny_parent": PARENT}.items():
        (tss.TASKS / f"{name}.toml").write_text(tomli_w.dumps(values))
    monkeypatch.setattr(tss, "FOLDER", Path("bench"))
    found = tss.BinsTask().measure("tiny", Path(), 2)
    names = ("constant", "gc", "kmers", "trees")
    assert list(found.baselines) == [f"bin_{name}" for name in names]
    assert np.mean(found.by_seed) == pytest.approx(found.model.value)
    assert "dilated CNN" in found.row("tiny", "2", "")["other network"]
    variants = [f"bench/tiny/variants/{name}" for name in ("model1", "other0", "other1")]
    assert trained == ["bench/tiny_parent", "bench/tiny", *variants]
    tss.BinsTask().measure("tiny", Path(), 2)
    assert len(trained) == 5


def test_labels_per_residue(trained, tmp_path, monkeypatch):
    import protein_ss3

    rng = np.random.default_rng(0)
    for name, number in {"train": 30, "val": 10, "ts115": 10}.items():
        rows = ["".join(rng.choice(list("ACDEFGHIKL"), 40)) for _ in range(number)]
        labels = [row.translate(str.maketrans("ACDEFGHIKL", "HECHECHECH")) for row in rows]
        chains = zip(map(str, range(number)), rows, labels, ["1" * 40] * number, strict=True)
        write_chains(tmp_path, name, chains)
    tiny = {"tokens": {"k": 1}, "model": NETWORK, "training": TRAINING}
    monkeypatch.setattr(protein_ss3, "MODEL", tiny)
    monkeypatch.setattr(protein_ss3, "FOLDER", Path("bench"))
    found = protein_ss3.Chains().measure("protein_ss3", tmp_path, 1)
    assert found.best == "logistic regression on the 15 positions around each"
    assert found.baselines[found.best].value > 0.9  # each label follows from its residue
    assert found.verdict == "yes, behind"
    assert found.range_of_seeds == "one training"
    assert trained == ["bench/protein_ss3"]
