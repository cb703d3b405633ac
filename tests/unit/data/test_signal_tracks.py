"""Test signal tracks as targets: columns, statistics, filter, normalisation, loss and errors."""

import sys

import numpy as np
import pandas as pd
import pyBigWig
import pytest
import torch
from scipy.sparse import csr_matrix
from small_corpus import errors

import selfattn_bio as sb
from selfattn_bio import config
from selfattn_bio.config import run_file_of
from selfattn_bio.errors import MissingPackageError, SelfAttnBioError
from selfattn_bio.objectives import objective_of
from selfattn_bio.objectives.numbers import RegressionLoss, pearson_across
from selfattn_bio.sequence.h5ad import write_predictions
from selfattn_bio.sequence.intervals import read_intervals

SIZE = 4_000
RNG = np.random.default_rng(0)
SIGNAL = {name: RNG.gamma(2.0, 2.0, (2, SIZE)).astype(np.float32) for name in "abc"}
SIGNAL["c"][:, : SIZE // 2] *= 9  # differs from a and b in the first half
SUMMITS = {"chr1": range(300, 3_700, 150), "chr2": range(350, 3_600, 250)}


def write_track(path, values, size=SIZE, chroms=("chr1", "chr2")):
    path.parent.mkdir(exist_ok=True)
    with pyBigWig.open(str(path), "w") as file:
        file.addHeader([(chrom, size) for chrom in chroms])
        for chrom, row in zip(chroms, values, strict=False):
            at = np.flatnonzero(np.isfinite(row))
            file.addEntries(
                [chrom] * len(at), at.tolist(), ends=(at + 1).tolist(), values=row[at].tolist()
            )


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    """Write a genome, peaks with summits, and tracks; most are unusual."""
    root = tmp_path_factory.mktemp("tracks")
    bases = RNG.choice(list("ACGT"), (2, SIZE))
    (root / "g.fa").write_text("".join(f">chr{n}\n{''.join(s)}\n" for n, s in enumerate(bases, 1)))
    line = "{0}\t{1}\t{2}\tp\t0\t.\t1\t-1\t-1\t{3}\n".format
    peaks = [line(chrom, at - 70, at + 30, 70) for chrom, of in SUMMITS.items() for at in of]
    (root / "p.narrowPeak").write_text("".join(peaks))
    (root / "end.narrowPeak").write_text(line("chr1", SIZE - 9, SIZE + 1, 3))
    (root / "outside.narrowPeak").write_text(line("chr1", 300, 400, 100))
    for name, values in SIGNAL.items():
        write_track(root / f"atac/{name}.bw", values)
    write_track(root / "more/a.bw", SIGNAL["a"])
    write_track(root / "other.bw", SIGNAL["a"], SIZE + 1)
    write_track(root / "part.bw", SIGNAL["a"], chroms=("chr1",))
    write_track(root / "gaps.bw", np.where(np.arange(SIZE) < 2_000, np.nan, SIGNAL["a"]))
    write_track(root / "minus.bw", -SIGNAL["a"])
    write_track(root / "zero.bw", np.zeros((2, SIZE)))
    return root


BEFORE = """[data]
genome = "g.fa"
sequences = "p.narrowPeak"
windows = { kind = "centered", width = 120, center = "summit" }
tracks.atac = { kind = "number", path = "atac/*.bw"%s }
[objective]
kind = "regression"%s
"""


def ingested(root, monkeypatch, text):
    monkeypatch.chdir(root)
    (root / "run.toml").write_text(text)
    return sb.Study(".").ingest()


@pytest.mark.parametrize("summary", ["mean", "sum", "max", "log_sum"])
def test_numbers_around_summits(tracks, monkeypatch, summary):
    corpus = ingested(tracks, monkeypatch, BEFORE % (f', width = 40, summary = "{summary}"', ""))
    windows = [(n, at - 20) for n, of in enumerate(SUMMITS.values()) for at in of]
    of_window = {"log_sum": lambda values: np.log1p(values.sum())}.get(
        summary, getattr(np, summary, None)
    )
    expected = [[of_window(SIGNAL[name][n, at : at + 40]) for name in "abc"] for n, at in windows]
    found = corpus.targets(list("abc")).astype(float)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_windows_that_differ_between_tracks(tracks, monkeypatch):
    """CREsted: Gini index above mean + threshold * SD; here of columns divided by their mean."""
    complete = ingested(tracks, monkeypatch, BEFORE % ("", "")).targets(list("abc")).astype(float)
    scores = []
    for row in (complete / complete.mean()).to_numpy():
        row = np.sort(row.clip(0, None) + 0.0000001)
        index = np.arange(1, 4)
        scores.append(np.sum((2 * index - 3 - 1) * row) / (3 * np.sum(row)))
    kept = ingested(tracks, monkeypatch, BEFORE % (", gini_std = 0.5", "")).targets(list("abc"))
    expected = complete[np.array(scores) > np.mean(scores) + 0.5 * np.std(scores)]
    assert 0 < len(kept) < len(complete)
    np.testing.assert_array_equal(kept.astype(float), expected)


@pytest.mark.parametrize(
    ("tracks_of_data", "columns", "expected"),
    [
        ("x = ['t/a.bw', 't/b.1.bedGraph.gz']", None, ["a", "b.1"]),
        ("x = ['t/a.bw', 't/b.bw'] / y = 't/c.bw'", ["y", "x"], ["y", "a", "b"]),
        ("x = 't/a.bw' / y = 't/c.bw'", None, ["x", "y"]),
        ("x = 't/a.bw', bin = 60", None, ["x_0", "x_1"]),
    ],
)
def test_columns_of_tracks(tracks_of_data, columns, expected):
    tables = "\n".join(
        "tracks.{} = {{ kind = 'number', path = {} }}".format(*each.split(" = ", 1))
        for each in tracks_of_data.split(" / ")
    )
    windows = "windows = { kind = 'flanked', of = 'five_prime', upstream = 120 }"
    text = f"[data]\ngenome = 'g.fa'\nsequences = 'p.bed'\n{windows}\n{tables}\n"
    text += "[objective]\nkind = 'regression'"
    text += f"\ncolumns = {columns}" if columns else ""
    assert list(run_file_of(text, "run.toml").objective.columns) == expected


@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")  # of anndata 0.12
def test_regions_of_anndata(tracks, monkeypatch):
    anndata = pytest.importorskip("anndata")
    monkeypatch.chdir(tracks)
    regions, values = ["chr2:100-220", "chr1:300-420:-", "chr1:900-1000"], RNG.random((2, 3))
    obs, var = (pd.DataFrame(index=pd.Index(each, dtype=object)) for each in (["x", "y"], regions))
    anndata.AnnData(csr_matrix(values), obs=obs, var=var).write_h5ad("r.h5ad")
    text = BEFORE.replace("tracks.atac", "# ") % ("", '\ncolumns = ["y", "x"]')
    text = text.replace("p.narrowPeak", "r.h5ad").replace("summit", "middle")
    corpus = ingested(tracks, monkeypatch, text)
    assert corpus.records["id"].tolist() == [
        *("chr1:300-420(-)", "chr1:890-1010(+)", "chr2:100-220(+)")
    ]
    found = corpus.targets(["x", "y"]).astype(float)
    np.testing.assert_allclose(found, values.T[[1, 2, 0]], rtol=1e-6)
    text += '\n[data.tracks.x]\nkind = "number"\npath = "atac/a.bw"\n'
    with pytest.raises(SelfAttnBioError, match="two columns have the name 'x'"):
        ingested(tracks, monkeypatch, text)
    table = pd.DataFrame({"id": ["a", "b"], "chrom": "1", "start": [1, 2], "x": [0.5, np.nan]})
    write_predictions(tracks / "s.h5ad", table)
    written = anndata.read_h5ad("s.h5ad")
    np.testing.assert_array_equal(written.X, [[0.5, np.nan]])
    assert (list(written.obs_names), list(written.var_names)) == (["x"], ["a", "b"])
    assert written.var["start"].tolist() == [1, 2]
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(MissingPackageError, match="needs the extra anndata"):
        read_intervals("r.h5ad")


BAD = r"""
path = ['atac/a.bw', 'other.bw'] => other.bw: chr1 has 4,001 bp in the track, and 4,000 bp in g.fa.
    Is it the same assembly?
path = ['atac/a.bw', 'part.bw'] => part.bw: the track has no chromosome 'chr2' (p.narrowPeak:24).
    Remove its intervals, or set missing = 0 if it has no signal
path = ['more/atac.bw', 'atac/a.bw'] => run.toml:1: [data] two tracks have the name 'atac'; rename
path = ['atac/a.bw', 'more/a.bw'] => run.toml:1: [data] two tracks have the name 'a'; rename a file
path = 'none/*.bw' => run.toml:5: [data.tracks.atac] no file matches 'none/*.bw'
path = ['atac/a.bw', 'gaps.bw'], gini_std = 0 => p.narrowPeak:1: track 'gaps' has no data here, so
    gini_std cannot compare it. Set missing = 0 if
path = ['atac/a.bw', 'zero.bw'], gini_std = 0 => track 'zero' has no signal in the windows. Remove
path = 'atac/*.bw', gini_std = 9 => no window differs so much between tracks. Lower gini_std
path = 'atac/a.bw', gini_std = 0 => gini_std compares the files of a track; give two or more
path = 'minus.bw', summary = 'log_sum' => minus.bw: the sum of a window is negative
path = 'minus.bw' / loss = 'poisson' => (+)'; use a count of 0 or more or leave it empty
path = ['atac/a.bw', 'minus.bw'] / normalisation = 'size_factor' => no training record has a number
    above 0 in all columns
path = 'atac/*.bw', summary = 'log_sum' / normalisation = 'size_factor' => cannot divide logarithms
path = 'atac/a.bw' / loss = 'cosine_mse' => loss 'cosine_mse' need two or more columns
path = 'atac/*.bw', width = 50, bin = 20 => windows of 50 bp cannot be divided into bins of 20 bp
sequences = 'end.narrowPeak' => end.narrowPeak:1: interval [3991, 4001) ends beyond chr1 of g.fa
sequences = 'outside.narrowPeak' => outside.narrowPeak:1: summit 100 (column 10) is outside the peak
"""


def completed(corpus):
    objective = objective_of(sb.Study(".").task.objective)
    return objective.complete(corpus.targets(objective.section.columns), corpus.records, "targets")


@pytest.mark.parametrize(("case", "message"), errors(BAD))
def test_bad_input(tracks, monkeypatch, case, message):
    track, *of_objective = case.split("\n")
    text = BEFORE % ("", "".join(f"\n{each}" for each in of_objective))
    old = 'path = "atac/*.bw"' if track.startswith("path") else 'sequences = "p.narrowPeak"'
    with pytest.raises(SelfAttnBioError) as caught:
        completed(ingested(tracks, monkeypatch, text.replace(old, track)))
    assert message in str(caught.value)


NAMES = ("a", "b", "c")


def test_normalisation_is_fitted_to_training_records():
    rng = np.random.default_rng(1)
    values = rng.gamma(2.0, size=(200, 1)) * rng.uniform(0.9, 1.1, (200, 3)) * [1, 4, 20]
    table = pd.DataFrame(values, columns=NAMES).astype(str)
    for kind in ("size_factor", "quantile"):
        section = config.RegressionObjective(columns=NAMES, normalisation=kind)
        section = objective_of(section).complete(table[:151], table[:151], "t")
        found = objective_of(section).targets(table, table, "t")
        if kind == "size_factor":  # of DESeq2
            train = values[:151]
            means = np.exp(np.log(train).mean(axis=1, keepdims=True))
            np.testing.assert_allclose(found, values / np.median(train / means, axis=0))
        else:
            spread = np.ptp(np.quantile(found[:151], np.linspace(0, 1, 11), axis=0), axis=1)
            assert spread.max() < 0.05
            assert (np.diff(found[np.argsort(values[:, 1]), 1]) >= 0).all()
        again = objective_of(type(section).model_validate(section.model_dump()))
        np.testing.assert_array_equal(again.targets(table, table, "t"), found)


def test_logarithms_need_numbers_above_0():
    section = config.RegressionObjective(columns=("a",), normalisation="log2")
    table, ids = pd.DataFrame({"a": ["0.5", "8", ""]}), pd.DataFrame({"id": ["x", "y", "z"]})
    objective = objective_of(section.model_copy(update={"center": (0.0,), "scale": (1.0,)}))
    np.testing.assert_array_equal(objective.targets(table, ids, "t"), [[-1], [3], [np.nan]])
    assert objective.outputs[0].unit == "log2 of a"
    with pytest.raises(SelfAttnBioError, match="'0' in column 'a' of record 'x'; use a number ab"):
        objective.targets(table.replace("0.5", "0"), ids, "t")
    with pytest.raises(ValueError, match="'poisson' learns counts, not their logarithms"):
        config.RegressionObjective(columns=("a",), normalisation="log2", loss="poisson")


def test_cosine_mse_equals_crested():
    """CosineMSELoss of CREsted with its default, max_weight = 1."""
    rng = np.random.default_rng(2)
    truth, outputs = rng.gamma(2.0, size=(8, 3)), rng.normal(size=(8, 3))
    section = config.RegressionObjective(
        columns=NAMES, loss="cosine_mse", center=(0.0,) * 3, scale=(1.0,) * 3
    )
    loss = RegressionLoss(objective_of(section))
    error = np.mean((outputs - truth) ** 2)
    unit_truth = truth / np.linalg.norm(truth, axis=-1, keepdims=True)
    unit_outputs = outputs / np.linalg.norm(outputs, axis=-1, keepdims=True)
    weight = min(max(abs(error), 1.0), 1.0)
    expected = np.mean(weight * -(unit_truth * unit_outputs).sum(-1) + error)
    members = torch.from_numpy(np.stack([outputs, outputs], axis=1))
    total = loss.sum(members, torch.from_numpy(truth).float())
    assert float(total) / truth.size == pytest.approx(expected, rel=1e-5)
    found = loss.measure_outputs(outputs, truth)
    assert found["loss"] == pytest.approx(expected)
    across = [np.corrcoef(*pair)[0, 1] for pair in zip(outputs, truth, strict=True)]
    assert found["pearson_across"] == pytest.approx(np.mean(across))
    constant = pearson_across(outputs[:2], np.array([[0.1] * 3, truth[1]]))
    assert constant.tolist() == pytest.approx([np.nan, across[1]], nan_ok=True)
    truth[0, 1] = np.nan  # record 0 has the columns a and c
    (a, c), (x, z) = outputs[0, [0, 2]], truth[0, [0, 2]]
    cosine = (a * x + c * z) / np.hypot(a, c) / np.hypot(x, z)
    found = loss.measure_outputs(outputs[:1], truth[:1])["loss"]
    assert found == pytest.approx(((a - x) ** 2 + (c - z) ** 2) / 2 - cosine)
    section = config.RegressionObjective(columns=NAMES, loss="cosine_mse")
    table = pd.DataFrame(truth[2:], columns=NAMES).astype(str)
    completed = objective_of(section).complete(table, table, "t")
    assert completed.center == (0,) * 3
    assert completed.scale == pytest.approx((np.sqrt((truth[2:] ** 2).mean()),) * 3)
