"""Test genome scans: tracks and peaks equal single windows for all chunks and regions."""

import errno
import gzip
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyBigWig
import pytest
from commands import exit_code, run
from genome_models import RUN, random_letters, run_file, scorer_of, write_genome, write_model
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import expit, logit, softmax

from selfattn_bio import config, log
from selfattn_bio.errors import ArgumentError, ModelFolderError, SequenceFileError
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.scoring import bigwig
from selfattn_bio.scoring import tracks as module
from selfattn_bio.scoring.bigwig import open_bigwig
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.peaks import PeakFinder, unsuppressed
from selfattn_bio.scoring.regions import parse_region
from selfattn_bio.scoring.scorer import Ensemble
from selfattn_bio.scoring.table import score_sequences
from selfattn_bio.scoring.tracks import Scan, score_genome
from selfattn_bio.scoring.windows import GenomeWindows, load_dna_model, window_size
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.genome import Genome

WINDOW, STRIDE = 60, 8
SCAN = Scan(window=WINDOW, stride=STRIDE, threshold=0.45, separation=50)


@pytest.fixture
def genome(tmp_path):
    letters = random_letters(1500)
    letters[600:660] = ord("N")
    chromosomes = {"chrA": letters, "chrShort": "ACGT" * 5, "chrB": random_letters(333, 1)}
    return Genome(write_genome(tmp_path / "toy1.fa", chromosomes))


def scanned(model, genome, path, **options):
    return score_genome(model, genome, path, **{"scan": SCAN, **options})


def one_by_one(scorer, genome, chrom, strand):
    """Return start -> log-odds of each window that is at most half N."""
    letters = {
        start: genome.fetch(chrom, start, start + WINDOW, strand)
        for start in range(0, genome.lengths[chrom] - WINDOW + 1, STRIDE)
    }
    known = [start for start, window in letters.items() if (window == ord("N")).mean() <= 0.5]
    return dict(zip(known, scorer.log_odds([letters[start] for start in known]), strict=True))


def intervals(path, chrom):
    with pyBigWig.open(str(path)) as track:
        return track.intervals(chrom) or ()


@pytest.mark.parametrize("chunk", [7, 4096])
def test_tracks_equal_single_windows(genome, tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(module, "CHUNK", chunk)
    scorer = scorer_of(RUN)
    peaks = score_genome(scorer, genome, tmp_path / "out" / "scan", scan=SCAN)
    for word, strand in (("plus", "+"), ("minus", "-")):
        name = tmp_path / "out" / f"scan.toy1.{word}"
        for chrom in ("chrA", "chrB"):
            expected = one_by_one(scorer, genome, chrom, strand)
            at = [start + (WINDOW - STRIDE) // 2 for start in expected]
            starts, values = np.array(list(expected)), np.array(list(expected.values()))
            rows = np.stack([at, np.array(at) + STRIDE, values], axis=1)
            np.testing.assert_allclose(intervals(f"{name}.bw", chrom), rows, rtol=0, atol=1e-5)
            high = values >= logit(0.45)
            kept = unsuppressed(starts[high], values[high], 50)
            own = peaks[(peaks["chrom"] == chrom) & (peaks["strand"] == strand)]
            assert own["start"].tolist() == starts[high][kept].tolist()
            np.testing.assert_allclose(own["log_odds"], values[high][kept], atol=1e-5)
        assert intervals(f"{name}.bw", "chrShort") == ()
    assert len(peaks) > 10
    assert peaks["probability"].tolist() == expit(peaks["log_odds"]).tolist()


NUMBERS = {"columns": ("a", "b c", "d"), "center": (2.0, 0.0, 1.0), "scale": (3.0, 1.0, 0.5)}
OBJECTIVES = {
    "regression": config.RegressionObjective(**NUMBERS),
    "multiclass": config.MulticlassObjective(column="k", classes=("x", "y", "z")),
    "labels": config.LabelsObjective(column="s", classes="HEC"),
    "bins": config.BinsObjective(points="p.bed", bin=20),
}


def by_hand(scorer, letters, strand):
    """Return the scores (K, n) of the windows, positions or bins of a chromosome."""
    read = letters if strand != "-" else DNA.reverse_complement(letters)
    match scorer.objective.kind:
        case "labels":
            values = scorer.token_outputs([read])[0]
            values = values[:: -1 if strand == "-" else 1]
        case "bins":
            odds = [f"probability_{each}" for each in "+-"]
            values = logit(score_sequences(scorer, [read.tobytes().decode()])[odds].to_numpy())
            return values.T
        case _:
            views = sliding_window_view(letters, WINDOW)[::STRIDE]
            views = map(DNA.reverse_complement, views) if strand == "-" else views
            values = scorer.outputs(list(views))
    if scorer.objective.kind == "regression":
        return (values * np.array(NUMBERS["scale"]) + np.array(NUMBERS["center"])).T
    return logit(softmax(values, axis=-1)).T


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_tracks_of_every_output_equal_scores_by_hand(genome, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(module, "CHUNK", 7)
    monkeypatch.setattr("selfattn_bio.scoring.tiling.BATCH_LETTERS", 200)
    of_windows = kind in ("regression", "multiclass")
    pattern = {"pattern": {"kind": "window", "window": 3}, "stem": {"kind": "conv", "pool": 4}}
    run = RUN if of_windows else run_file(config.Tokens(k=1), **pattern)
    members = [scorer_of(run.model_copy(update={"objective": OBJECTIVES[kind]}), i) for i in (0, 1)]
    scorer, has_peaks = members[0], kind != "regression"
    size, step = {"labels": (1, 1), "bins": (20, 20)}.get(kind, (WINDOW, STRIDE))
    settings = {"window": WINDOW, "stride": STRIDE} if of_windows else {}
    scan = Scan(**settings, threshold=0.4 if has_peaks else None)
    peaks = scanned(scorer, genome, tmp_path / "x", scan=scan)
    names = dict(zip(scorer.objective.section.output_names, ("a", "b_c", "d"), strict=False))
    if kind != "regression":
        names = {name: {"+": "plus", "-": "minus"}.get(name, name) for name in names}
    strands = {"+": ".plus", "-": ".minus"} if kind != "bins" else {".": ""}
    endings = [f"{word}.bw" for word in strands.values()]
    endings += [".peaks.bed", ".summits.bed"] * has_peaks
    expected = sorted(f"x.toy1.{name}{ending}" for name in names.values() for ending in endings)
    assert sorted(path.name for path in tmp_path.glob("x.*")) == expected
    for chrom, strand in itertools.product(("chrA", "chrB"), strands):
        letters = genome.fetch(chrom)
        scores = by_hand(scorer, letters, strand)
        starts = np.arange(scores.shape[1]) * step
        counts = np.convolve(letters == ord("N"), np.ones(size), "valid")[starts]
        starts, scores = starts[counts <= size / 2], scores[:, counts <= size / 2]
        for (name, safe), values in zip(names.items(), scores, strict=True):
            found = np.array(intervals(tmp_path / f"x.toy1.{safe}{strands[strand]}.bw", chrom))
            assert found[:, 0].tolist() == (starts + (size - step) // 2).tolist()
            np.testing.assert_allclose(found[:, 2], values, rtol=0, atol=1e-5)
            assert values.std() > 1e-3
            if has_peaks:
                by_track = peaks.groupby(["output", "chrom", "strand"])["start"].agg(set)
                own = by_track.get((name, chrom, strand), set())
                assert own <= set(starts[expit(values) >= 0.4])
                assert bool(own) == bool((expit(values) >= 0.4).any())
    if kind == "regression":  # the mean of two models
        scanned(Ensemble(tuple(members)), genome, tmp_path / "both", scan=scan, regions="chrB")
        values = np.mean([by_hand(each, genome.fetch("chrB"), "-") for each in members], axis=0)
        for name, of_output in zip(names.values(), values, strict=True):
            found = intervals(tmp_path / f"both.toy1.{name}.minus.bw", "chrB")
            np.testing.assert_allclose([row[2] for row in found], of_output, atol=1e-5)


def test_peaks_and_summits_are_bed6(genome, tmp_path):
    offsets = ("start", 0, WINDOW - 1), ("centre", 30, 29), ("end", WINDOW - 1, 0)
    for anchor, on_plus, on_minus in offsets:
        scan = Scan(window=WINDOW, stride=STRIDE, threshold=0.45, anchor=anchor)
        peaks = score_genome(scorer_of(RUN), genome, tmp_path / anchor, scan=scan)
        columns = ["chrom", "start", "end", "name", "score", "strand"]
        if anchor == "end":
            for strand, first in (("plus", WINDOW - STRIDE), ("minus", 0)):
                track = tmp_path / f"end.toy1.{strand}.bw"
                assert intervals(track, "chrA")[0][:2] == (first, first + STRIDE)
        windows, summits = (
            pd.read_csv(f"{tmp_path / anchor}.toy1.{what}.bed", sep="\t", names=columns)
            for what in ("peaks", "summits")
        )
        pd.testing.assert_frame_equal(windows, peaks[columns], check_dtype=False)
        assert (windows["end"] - windows["start"] == WINDOW).all()
        assert (windows["score"] == (peaks["probability"] * 1000).round()).all()
        moved = summits["start"] - windows["start"]
        assert set(moved[windows["strand"] == "+"]) == {on_plus}
        assert set(moved[windows["strand"] == "-"]) == {on_minus}
        assert (summits["end"] - summits["start"] == 1).all()


def test_both_strand_model_has_one_track(genome, tmp_path):
    both = config.EvaluationSection(strands="both")
    scorer = scorer_of(RUN.model_copy(update={"evaluation": both}))
    peaks = scanned(scorer, genome, tmp_path / "scan", assembly="dm3")
    names = sorted(path.name for path in tmp_path.glob("scan.*"))
    assert names == ["scan.dm3.bw", "scan.dm3.peaks.bed", "scan.dm3.summits.bed"]
    expected = list(one_by_one(scorer, genome, "chrA", "+").values())
    found = [value for _, _, value in intervals(tmp_path / "scan.dm3.bw", "chrA")]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert set(peaks["strand"]) == {"."}
    assert not peaks.duplicated(["chrom", "start"]).any()
    assert set(peaks["summit"] - peaks["start"]) == {WINDOW // 2}
    with pytest.raises(ArgumentError, match="anchor 'end' has no direction"):
        scanned(scorer, genome, tmp_path / "scan", scan=Scan(window=WINDOW, anchor="end"))


def test_soft_masked_bases_are_n_if_trained_so(tmp_path):
    letters = random_letters(300).tobytes().decode()
    soft, hard = (
        write_genome(tmp_path / f"{name}.fa", {"chrA": letters[:100] + masked + letters[130:]})
        for name, masked in (("soft", letters[100:130].lower()), ("hard", "N" * 30))
    )
    data = RUN.data.model_copy(update={"soft_mask": "hard"})
    scorer = scorer_of(RUN.model_copy(update={"data": data}))
    found, expected = (scanned(scorer, genome, tmp_path / "x") for genome in (soft, hard))
    pd.testing.assert_frame_equal(found, expected)
    assert not found.equals(scanned(scorer_of(RUN), soft, tmp_path / "x"))


def test_region_is_one_based_and_inclusive(genome):
    texts = "chrA", "chrA:1-1", "chrA:101-400", "chrA:1,401-", "chrA:1,401"
    ends = (0, 1500), (0, 1), (100, 400), (1400, 1500), (1400, 1500)
    assert [parse_region(text, genome) for text in texts] == [("chrA", *each) for each in ends]


def test_regions_equal_part_of_genome_scan(genome, tmp_path):
    scorer = scorer_of(RUN)
    scanned(scorer, genome, tmp_path / "all")
    bed = tmp_path / "some.bed"
    bed.write_text("# wanted\nchrB\t0\t333\nchrA\t1000\t1100\nchrA\t300\t301\nA\t305\t400\n")
    scanned(scorer, genome, tmp_path / "some", regions=bed)
    zipped = tmp_path / "some.BED.gz"
    zipped.write_bytes(gzip.compress(bed.read_bytes()))
    assert module._wanted(str(zipped), genome) == module._wanted([bed], genome)
    assert module._wanted("B", genome) == [("chrB", 0, 333)]
    named = ["chrA:1,001-1,100", "chrA:301-301", "chrA:306-400", "B"]
    scanned(scorer, genome, tmp_path / "named", regions=named)
    for strand in ("plus", "minus"):
        whole = intervals(tmp_path / f"all.toy1.{strand}.bw", "chrA")
        wanted = (300, 301), (305, 400), (1000, 1100)
        touched = [row for row in whole if any(row[0] < end and row[1] > at for at, end in wanted)]
        for some in ("some", "named"):
            path = tmp_path / f"{some}.toy1.{strand}.bw"
            np.testing.assert_allclose(intervals(path, "chrA"), touched, atol=1e-5)
            every = intervals(tmp_path / f"all.toy1.{strand}.bw", "chrB")
            np.testing.assert_allclose(intervals(path, "chrB"), every, atol=1e-5)


def test_prior_shifts_log_odds(genome, tmp_path):
    folder = write_model(tmp_path / "model", RUN, length=WINDOW)
    settings = ("a", 0.01, None), ("b", 1e-9, 0.01), ("few", None, 0.01)
    scans = [(name, Scan(stride=STRIDE, threshold=of), prior) for name, of, prior in settings]
    plain, rare, few = (
        scanned(folder, genome, tmp_path / name, scan=scan, prior=prior)
        for name, scan, prior in scans
    )
    shift = logit(0.01) - logit(0.25)
    assert len(plain) == len(rare)
    np.testing.assert_allclose(rare["log_odds"], plain["log_odds"] + shift, atol=1e-6)
    assert few.empty  # the default threshold is 0.5
    assert (tmp_path / "few.toy1.peaks.bed").read_text() == ""


def test_progress_counts_windows(genome, tmp_path, monkeypatch, caplog):
    """A bar adds the percentage."""
    monkeypatch.setattr(log, "SECONDS_BETWEEN_LINES", 0.0)
    folder = write_model(tmp_path / "model", RUN, length=WINDOW)
    with log.logging_from(20):
        scanned(folder, genome, tmp_path / "scan")
    lines = [line.rpartition(", about")[0] for line in caplog.messages if line.endswith(" s left")]
    assert lines == ["chrA:1,440, 181 of 216 windows", "chrB:272, 216 of 216 windows"]


def test_prior_after_balanced_training():
    """Training saw 50 % positives, validation 10 %: the intercept moves logits by -2.20."""
    rng = np.random.default_rng(0)
    truth = rng.normal(logit(0.1) - 0.4, 1.2, 40_000)
    labels = rng.uniform(size=len(truth)) < expit(truth)
    logits = truth - logit(labels.mean())  # of a network that saw as many positives as negatives
    fitted = Calibration.fit(logits, labels)
    assert fitted.intercept == pytest.approx(logit(labels.mean()), abs=0.1)
    assert fitted.shift(labels.mean()) == pytest.approx(0, abs=1e-9)
    # a genome in which positives are ten times rarer than in validation
    rare = labels.mean() / 10
    odds = labels.mean() / (1 - labels.mean())
    kept = ~labels | (rng.uniform(size=len(labels)) < rare / (1 - rare) / odds)
    shifted = expit(fitted.log_odds(logits[kept]) + fitted.shift(rare))
    assert shifted.mean() == pytest.approx(labels[kept].mean(), rel=0.1)
    assert labels[kept].mean() == pytest.approx(rare, rel=0.15)


def test_window_is_the_record_length_of_the_folder(genome, tmp_path):
    folders = [write_model(tmp_path / name, RUN, seed, length=72) for seed, name in enumerate("ab")]
    for model in (folders[0], folders):
        assert Scan().windows(load(model)) == GenomeWindows(72, 4)
    with pytest.raises(ArgumentError, match="the window size is unknown"):
        window_size(scorer_of(RUN), None)
    with pytest.raises(ArgumentError, match="a window of 2 bp is too short; the model needs 3"):
        window_size(load(folders), 2)
    scan = Scan(stride=STRIDE, threshold=0.01)
    options, models = {"prior": 0.1, "scan": scan}, (load(folders[0]), folders[0])
    found, expected = (scanned(model, genome, tmp_path / "x", **options) for model in models)
    pd.testing.assert_frame_equal(found, expected)


def test_shipped_model_has_window_and_fraction_of_positives():
    model = load("promoter")
    assert (model.record_length, model.run.data.assembly) == (300, "dm3")
    assert model.calibration.positive_fraction == pytest.approx(2797 / 5001)  # of validation


def test_folder_of_an_earlier_version_has_no_positive_fraction(tmp_path):
    folder = write_model(tmp_path / "model", RUN, length=72)
    provenance = json.loads((folder / "provenance.json").read_text())
    provenance["calibration"] = {"temperature": 2.0, "slope": 0.4, "threshold": 0.6}
    (folder / "provenance.json").write_text(json.dumps(provenance))
    calibration = load(folder).calibration
    assert calibration == Calibration(0.4, 0.0, 0.6)
    with pytest.raises(ArgumentError, match="does not store the fraction of positives"):
        calibration.shift(0.1)
    with pytest.raises(ArgumentError, match="prior 1 is not between 0 and 1"):
        calibration.shift(1)


def test_stopped_scan_leaves_no_files(genome, tmp_path, monkeypatch):
    def stops(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "strand_outputs", stops)
    with pytest.raises(KeyboardInterrupt):
        scanned(scorer_of(RUN), genome, tmp_path / "out" / "x")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ("chrA:5-4", "region chrA:5-4: the first position is after the last"),
        ("chrA:0-5", "region chrA:0-5 is not within chrA:1-1500"),
        ("chrA:x-y", "cannot read region 'chrA:x-y'; write CHROM:FIRST-LAST, 1-based inclusive"),
        ("chrShort", "no window of 60 bp fits into the chromosomes or regions to scan"),
        ("chrZ\t1\t2\n", r"some\.bed:1: no chromosome 'chrZ' in the genome"),
        ("chrA\t1\t2\nchrA\t1\t1501\n", r"some\.bed:2: interval \[1, 1501\) ends beyond chrA"),
        ("absent.bed", r"absent\.bed: no such file"),
    ],
)
def test_invalid_regions(genome, tmp_path, regions, message):
    if "\n" in regions:
        (tmp_path / "some.bed").write_text(regions)
        regions = tmp_path / "some.bed"
    with pytest.raises(SequenceFileError, match=message):
        scanned(scorer_of(RUN), genome, tmp_path / "x", regions=regions)


def test_scan_refuses_other_models_and_settings(genome, tmp_path):
    run = run_file()
    data = run.data.model_copy(update={"alphabet": "protein"})
    protein = run.model_copy(update={"data": data, "tokens": config.Tokens(k=1)})
    with pytest.raises(ModelFolderError, match="need a model of DNA; this one reads protein"):
        load_dna_model(write_model(tmp_path / "protein", protein))
    masked = run.model_copy(update={"objective": config.MaskedObjective()})
    with pytest.raises(ModelFolderError, match="'masked' does not score sequences"):
        load_dna_model(scorer_of(masked))
    numbers, labels = (
        scorer_of(run.model_copy(update={"objective": OBJECTIVES[kind]}))
        for kind in ("regression", "labels")
    )
    for model, options, message in (
        (numbers, {"scan": Scan(60, threshold=0.5)}, "threshold is a probability, but the outputs"),
        (numbers, {"scan": Scan(60), "prior": 0.1}, "prior is for the probabilities of a binary"),
        (labels, {}, "window, stride and anchor cannot be used with objective 'labels'"),
    ):
        with pytest.raises(ArgumentError, match=message):
            scanned(model, genome, tmp_path / "x", **options)
    for options, message in (
        ({"window": 0}, "window is 0; it must be at least 1 bp"),
        ({"separation": -1}, "separation is -1; it must be at least 1 bp"),
        ({"anchor": "middle"}, "unknown anchor 'middle'; choose start, centre or end"),
        ({"threshold": 1.0}, "threshold 1.0 is not between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            Scan(**options)


# ------------ peaks
def greedy(places, values, separation):
    """Keep the highest remaining value until none remains."""
    left, kept = sorted(range(len(places)), key=lambda i: (-values[i], i)), []
    while left:
        kept.append(left[0])
        left = [i for i in left if abs(places[i] - places[left[0]]) >= separation]
    return sorted(kept)


def test_peaks_of_worked_example():
    places, values = np.array([0, 10, 20, 30]), np.array([1.0, 3.0, 2.0, 2.0])
    assert unsuppressed(places, values, 15).tolist() == [1, 3]
    for separation, kept in ((11, [0, 2]), (10, [0, 1, 2, 3])):  # the first of equal peaks
        assert unsuppressed(places, np.ones(4), separation).tolist() == kept


@pytest.mark.parametrize("seed", range(10))
def test_peaks_do_not_depend_on_chunks(seed):
    rng = np.random.default_rng(seed)
    places = np.cumsum(rng.integers(1, 12, 300))
    values = np.round(rng.normal(size=300), 1)  # with ties
    values[rng.random(300) < 0.1] = np.nan
    threshold, separation = rng.choice([-1.0, 0.5, 1.5]), int(rng.integers(1, 60))
    high = np.flatnonzero(values >= threshold)
    expected = high[greedy(places[high], values[high], separation)]
    finder, found = PeakFinder(threshold, separation), []
    for part in np.array_split(np.arange(300), np.sort(rng.integers(0, 300, rng.integers(0, 30)))):
        found.append(finder.add(places[part], values[part]))
    found.append(finder.finish())
    assert np.concatenate([where for where, _ in found]).tolist() == places[expected].tolist()
    np.testing.assert_array_equal(np.concatenate([value for _, value in found]), values[expected])


def test_decided_peaks_are_released():
    finder = PeakFinder(0.0, 5)
    values = np.r_[1.0, np.full(9, -1.0)]
    kept = [finder.add(np.arange(at, at + 10), values)[0] for at in range(0, 100, 10)]
    assert [len(each) for each in kept] == [1] * 10
    assert finder.finish()[0].tolist() == []


# ------------ full disk: pyBigWig raises no error
def write_track(folder):
    with open_bigwig(f"{folder}/scan.bw", {"chr1": 1000}) as write_values:
        write_values("chr1", np.arange(0, 500, 10), 10, np.linspace(0, 1, 50))


def test_scan_stops_before_the_disk_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(bigwig.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"No space left on device: .*scan\.bw") as caught:
        write_track(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_truncated_bigwig_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(bigwig, "BIGWIG_END", b"\0\0\0\0")
    with pytest.raises(OSError, match=r"No space left on device: .*scan\.bw"):
        write_track(tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    write_track(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["scan.bw"]


# ------------ command
COMMAND = "scan --model model --genome toy1.fa --output out"


@pytest.fixture
def folder(here):
    """Change to a folder with a genome and a model."""
    write_genome(here / "toy1.fa", {"chrA": random_letters(800)})
    write_model(here / "model", RUN, length=60)
    return here


def test_scan_without_prior_warns(folder, capsys):
    run(f"{COMMAND} --threshold 0.4")
    printed = capsys.readouterr()
    assert "warning: no prior: scores assume that as many windows are positive" in printed.err
    assert "validation (25.0%)" in printed.err
    first = "scan: windows of 60 bp, one every 4 bp, scored on both strands\n"
    assert printed.out.startswith(first)
    number = len((folder / "out.toy1.peaks.bed").read_text().splitlines())
    assert f"scan: {number} peaks with a probability of at least 0.4" in printed.out
    assert number > 1


def test_scan_with_prior_reports_highest_score(folder, capsys):
    run(f"{COMMAND} --prior 0.001")
    printed = capsys.readouterr()
    assert "prior" not in printed.err
    assert "0 peaks with a probability of at least 0.5; the best window has 0.00" in printed.out


def test_scan_of_regions_reports_other_assembly(folder, capsys):
    (folder / "toy1.fa").rename("toy2.fa")
    (folder / "sites.bed").write_text("chrA\t0\t90\nchrA\t300\t340\n")
    run("scan --model model --genome toy2.fa --region sites.bed A:701-800 --prior 0.1 --output out")
    printed = capsys.readouterr()
    assert "the model was trained on 'toy1', but the genome is named 'toy2'" in printed.err
    (track,) = folder.glob("out.toy2.plus.bw")
    assert track.stat().st_size


def test_scan_error_is_one_line(folder, capsys):
    assert exit_code(f"{COMMAND} --prior 1") == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "selfattn-bio scan: error: prior 1.0 is not between 0 and 1"
    assert not list(folder.glob("out*"))
