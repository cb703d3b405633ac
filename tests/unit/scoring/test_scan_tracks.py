"""Test genome scans: tracks and peaks equal single windows for all chunks and regions."""

import gzip
import itertools
import json

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
from selfattn_bio.scoring import tracks as module
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.peaks import unsuppressed
from selfattn_bio.scoring.regions import parse_region
from selfattn_bio.scoring.scorer import Ensemble
from selfattn_bio.scoring.table import score_sequences
from selfattn_bio.scoring.tracks import Scan, score_genome
from selfattn_bio.scoring.windows import GenomeWindows, load_dna_model, window_size
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.tables import read_bed

WINDOW, STRIDE = 60, 8
WINDOWS = {"window": WINDOW, "stride": STRIDE}
SCAN = Scan(**WINDOWS, threshold=0.45, separation=50)


@pytest.fixture
def genome(tmp_path):
    letters = random_letters(1500)
    letters[600:660] = ord("N")
    chromosomes = {"chrA": letters, "chrShort": "ACGT" * 5, "chrB": random_letters(333, 1)}
    return Genome(write_genome(tmp_path / "toy1.fa", chromosomes))


def scanned(model, genome, path, **options):
    return score_genome(model, genome, path, **{"scan": SCAN, **options})


def intervals(path, chrom):
    with pyBigWig.open(str(path)) as track:
        return track.intervals(chrom) or ()


def assert_opens(path, lengths):
    """Check that other programs read a file: bigWig with its chromosomes, or sorted BED."""
    if path.suffix == ".bw":
        with pyBigWig.open(str(path)) as track:
            assert track.chroms() == lengths
            assert track.header()["nBasesCovered"] > 0
        return
    rows = read_bed(path)
    assert rows["end"].le(rows["chrom"].map(lengths)).all()
    assert (rows["start"].ge(0) & rows["start"].lt(rows["end"])).all()
    chroms = rows["chrom"].map(list(lengths).index)
    assert (chroms * 10**9 + rows["start"]).is_monotonic_increasing


NUMBERS = {"columns": ("a", "b c", "d"), "center": (2.0, 0.0, 1.0), "scale": (3.0, 1.0, 0.5)}
CLASSES = config.MulticlassObjective(column="k", classes=("x", "y"))
OBJECTIVES = {  # and the outputs in names of files
    "binary": (config.BinaryObjective(), {"": ""}),
    "regression": (config.RegressionObjective(**NUMBERS), {"a": ".a", "b c": ".b_c", "d": ".d"}),
    "multiclass": (CLASSES, {"x": ".x", "y": ".y"}),
    "labels": (config.LabelsObjective(column="s", classes="HEC"), {x: f".{x}" for x in "HEC"}),
    "bins": (config.BinsObjective(points="p.bed", bin=20), {"+": ".plus", "-": ".minus"}),
}
SIZES = {"labels": (1, 1), "bins": (20, 20)}  # and strides


def by_hand(scorer, genome, chrom, strand):
    """Return starts (n,) and scores (K, n) of windows, positions or bins with at most half N."""
    letters, kind = genome.fetch(chrom), scorer.objective.kind
    size, step = SIZES.get(kind, (WINDOW, STRIDE))
    strands, turned = (letters, DNA.reverse_complement(letters)), strand == "-"
    if kind == "labels":
        scores = logit(softmax(scorer.token_outputs([strands[turned]])[0], axis=-1))
        scores = scores[::-1] if turned else scores
    elif kind == "bins":
        table = score_sequences(scorer, [letters.tobytes().decode()])
        scores = logit(table[["probability_+", "probability_-"]].to_numpy())
    else:
        views = sliding_window_view(letters, WINDOW)[::STRIDE]
        scores = scorer.outputs(list(map(DNA.reverse_complement, views) if turned else views))
        if kind == "binary":
            scores = scorer.calibration.log_odds(scores)
        elif kind == "regression":
            scores = scores * np.array(NUMBERS["scale"]) + np.array(NUMBERS["center"])
        else:
            scores = logit(softmax(scores, axis=-1))
    starts = np.arange(len(scores)) * step
    known = np.convolve(letters == ord("N"), np.ones(size), "valid")[starts] <= size / 2
    return starts[known], scores[known].T


@pytest.mark.parametrize(("kind", "chunk"), [("binary", 4096), *((kind, 7) for kind in OBJECTIVES)])
def test_tracks_and_peaks_equal_scores_by_hand(genome, tmp_path, monkeypatch, caplog, kind, chunk):
    monkeypatch.setattr(module, "CHUNK", chunk)
    monkeypatch.setattr("selfattn_bio.scoring.tiling.BATCH_LETTERS", 200)
    size, step = SIZES.get(kind, (WINDOW, STRIDE))
    pattern = {"pattern": {"kind": "window", "window": 3}, "stem": {"kind": "conv", "pool": 4}}
    run = run_file(config.Tokens(k=1), **pattern) if kind in SIZES else RUN
    section, names = OBJECTIVES[kind]
    members = [scorer_of(run.model_copy(update={"objective": section}), seed) for seed in (0, 1)]
    least = {"regression": None, "bins": 3e-4}.get(kind, 0.45)
    scan = Scan(**({} if kind in SIZES else WINDOWS), threshold=least, separation=50)
    peaks = scanned(members[0], genome, tmp_path / "out" / "x", scan=scan)
    strands = {".": ""} if kind == "bins" else {"+": ".plus", "-": ".minus"}
    endings = [*(f"{word}.bw" for word in strands.values())]
    endings += [] if least is None else [".peaks.bed", ".summits.bed"]
    expected = {f"x.toy1{name}{ending}" for name in names.values() for ending in endings}
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected
    of_tracks = peaks.assign(output=peaks.get("output", ""))
    of_tracks = dict(list(of_tracks.groupby(["output", "chrom", "strand"])))
    for chrom, (strand, word) in itertools.product(("chrA", "chrB"), strands.items()):
        starts, scores = by_hand(members[0], genome, chrom, strand)
        at = starts + (size - step) // 2
        for (output, name), values in zip(names.items(), scores, strict=True):
            track = tmp_path / "out" / f"x.toy1{name}{word}.bw"
            rows = np.stack([at, at + step, values], axis=1)
            np.testing.assert_allclose(intervals(track, chrom), rows, rtol=0, atol=1e-5)
            assert values.std() > 1e-3
            assert bool(intervals(track, "chrShort")) == (kind in SIZES)  # of 20 bp
            if least:
                high = values >= logit(least)
                kept = unsuppressed(starts[high], values[high], 50)
                of_strand = output if kind == "bins" else strand
                own = of_tracks.get((output, chrom, of_strand), peaks[:0])
                assert own["start"].tolist() == starts[high][kept].tolist()
                np.testing.assert_allclose(own["log_odds"], values[high][kept], atol=1e-5)
    assert (len(peaks) > 5) == (least is not None)
    for path in (tmp_path / "out").iterdir():
        assert_opens(path, genome.lengths)
    assert "chromosomes are read in windows" not in caplog.text  # exact tiles
    if kind == "regression":  # the mean of two models
        scanned(Ensemble(tuple(members)), genome, tmp_path / "both", scan=scan, regions="chrB")
        values = np.mean([by_hand(each, genome, "chrB", "-")[1] for each in members], axis=0)
        for name, of_output in zip(names.values(), values, strict=True):
            found = intervals(tmp_path / f"both.toy1{name}.minus.bw", "chrB")
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
        summits = windows[["name"]].merge(summits, on="name")  # in the order of windows
        moved = summits["start"] - windows["start"]
        assert set(moved[windows["strand"] == "+"]) == {on_plus}
        assert set(moved[windows["strand"] == "-"]) == {on_minus}
        assert (summits["end"] - summits["start"] == 1).all()


def test_peak_of_labels_is_a_run_of_positions(genome, tmp_path):
    pattern = {"pattern": {"kind": "window", "window": 3}, "stem": {"kind": "conv", "pool": 4}}
    run = run_file(config.Tokens(k=1), **pattern)
    scorer = scorer_of(run.model_copy(update={"objective": OBJECTIVES["labels"][0]}))
    peaks = scanned(scorer, genome, tmp_path / "x", scan=Scan(threshold=0.34))
    own = peaks[(peaks["output"] == "H") & (peaks["chrom"] == "chrB") & (peaks["strand"] == "-")]
    starts, scores = by_hand(scorer, genome, "chrB", "-")
    high = np.flatnonzero(scores[0] >= logit(0.34))
    runs = np.split(high, np.flatnonzero(np.diff(high) > 1) + 1)
    assert own["start"].tolist() == [starts[run[0]] for run in runs]
    assert own["end"].tolist() == [starts[run[-1]] + 1 for run in runs]
    assert own["summit"].tolist() == [starts[run[scores[0][run].argmax()]] for run in runs]
    np.testing.assert_allclose(own["log_odds"], [scores[0][run].max() for run in runs], atol=1e-5)
    assert 1 < len(runs) < len(high)
    assert scanned(scorer, genome, tmp_path / "x", scan=Scan(threshold=0.999)).empty


def test_scan_of_classes_names_the_threshold(genome, tmp_path, caplog):
    scorer = scorer_of(RUN.model_copy(update={"objective": OBJECTIVES["multiclass"][0]}))
    caplog.set_level("INFO", logger="selfattn_bio")
    scanned(scorer, genome, tmp_path / "x", scan=Scan(60))
    assert caplog.text.count("(log-odds); no peaks, because there is no threshold") == 2
    scanned(scorer, genome, tmp_path / "x", scan=Scan(60, threshold=0.9))
    assert "far rarer. Choose a high threshold; a prior is only for two classes" in caplog.text


def test_both_strand_model_has_one_track(genome, tmp_path):
    both = config.EvaluationSection(strands="both")
    scorer = scorer_of(RUN.model_copy(update={"evaluation": both}))
    peaks = scanned(scorer, genome, tmp_path / "scan", assembly="dm3")
    names = sorted(path.name for path in tmp_path.glob("scan.*"))
    assert names == ["scan.dm3.bw", "scan.dm3.peaks.bed", "scan.dm3.summits.bed"]
    _, (expected,) = by_hand(scorer, genome, "chrA", "+")
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
    ends = " s left", "of 216 windows"
    lines = [line.partition(", about")[0] for line in caplog.messages if line.endswith(ends)]
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
        scorer_of(run.model_copy(update={"objective": OBJECTIVES[kind][0]}))
        for kind in ("regression", "labels")
    )
    for model, options, message in (
        (numbers, {"scan": Scan(60, threshold=0.5)}, "threshold is a probability, but the outputs"),
        (numbers, {"scan": Scan(60), "prior": 0.1}, "binary .* in a scan, choose a high threshold"),
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


def test_scan_without_scores_says_so(folder, capsys):
    for path in folder.glob("toy1.fa*"):
        path.unlink()
    (folder / "toy1.fa").write_text(f">chrA\n{'N' * 400}\n")
    run(f"{COMMAND} --prior 0.001")
    assert "scan: no score, because of too many ambiguous bases\n" in capsys.readouterr().out


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
