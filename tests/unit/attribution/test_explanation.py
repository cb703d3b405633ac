"""Test `explain`, its methods, attribution folders, attention maps, plots and motif sets."""

import dataclasses
from xml.dom.minidom import parseString

import numpy as np
import pandas as pd
import pyBigWig
import pytest
from learners import CLASSES, SEQUENCES, scorer_of, targets_learner
from letters import ascii_of

from selfattn_bio.attribution.capture import read_attention
from selfattn_bio.attribution.explain import attention_maps, explain
from selfattn_bio.attribution.explain import joined as concatenated
from selfattn_bio.attribution.explanation import Explanation, MappedSequence
from selfattn_bio.attribution.methods import AttnLRP, Received, Rollout
from selfattn_bio.attribution.methods.mutagenesis import joined, most_important
from selfattn_bio.attribution.plot_regions import best_window
from selfattn_bio.errors import ArgumentError, GenomeError, OutputError, ResultsError
from selfattn_bio.evidence.variants import Substitutions
from selfattn_bio.motifs.callers import Modisco
from selfattn_bio.motifs.motif_set import MotifSet, build_motifs
from selfattn_bio.motifs.patterns import SeqletPattern
from selfattn_bio.sequence.alphabet import PROTEIN


def test_fasta_and_strings_have_equal_attributions(tmp_path):
    text = "".join(f">r{i}\n{sequence.lower()}\n" for i, sequence in enumerate(SEQUENCES))
    (tmp_path / "new.fa").write_text(text)
    found, expected = explain(scorer_of(), tmp_path / "new.fa"), explain(scorer_of(), SEQUENCES)
    assert found.ids == ["r0", "r1", "r2"]
    np.testing.assert_array_equal(found.hypothetical, expected.hypothetical)


def test_ambiguous_bases_are_not_mutated():
    scorer = scorer_of()
    letters = ascii_of(b"ACGTNGCATG")
    guess = np.ones((10, 4), dtype=np.float32)
    assert 4 not in most_important(scorer, letters, guess, 1.0)
    nowhere = np.zeros(0, dtype=np.int64)
    np.testing.assert_array_equal(joined(guess, nowhere, np.zeros((0, 4), dtype=np.float32)), guess)
    assert not explain(scorer, ["NNNNN"]).hypothetical.any()


def test_contributions_along_the_genome(tmp_path):
    """The sum of overlapping records on both strands, and their number."""
    chromosome = "ACGTTGCATGCATTAGCCATGGCATCGATTACGGATCCAT"
    (tmp_path / "g.fa").write_text(f">chr1\n{chromosome}\n>chr2\n{chromosome[::-1]}\n")
    places = ("chr2", 3, 20, "+"), ("chr1", 25, 40, "-"), ("chr1", 0, 15, "+"), ("chr1", 5, 20, "-")
    lines = ("{}\t{}\t{}\tx\t0\t{}\n".format(*place) for place in places)
    (tmp_path / "a.bed").write_text("".join(lines))
    scorer, expected = scorer_of(), {chrom: np.zeros((2, 40)) for chrom in ("chr1", "chr2")}
    found = explain(scorer, tmp_path / "a.bed", genome=tmp_path / "g.fa")
    header = ">x chrom={} start={} end={} strand={}\n{}\n".format
    fasta = f">e\n{chromosome}\n"  # and the same records
    for row, (chrom, start, end, strand) in enumerate(places):
        scores = found.track(row).sum(axis=1)[:: -1 if strand == "-" else 1]
        expected[chrom][:, start:end] += scores, np.ones(end - start)
        fasta += header(chrom, start, end, strand, found.sequences[row])
    found.to_bigwig(tmp_path / "own", tmp_path / "g.fa")
    (tmp_path / "a.fa").write_text(fasta)
    explain(scorer, tmp_path / "a.fa").save(tmp_path / "saved", tmp_path / "g.fa")
    own, saved = tmp_path / "own", tmp_path / "saved" / "contributions"
    for path in (*own.iterdir(), *saved.iterdir()):
        with pyBigWig.open(str(path)) as file:
            assert file.chroms() == {"chr1": 40, "chr2": 40}
            for chrom, (sums, counts) in expected.items():
                values = {"positive.bw": sums, "positive-count.bw": counts}[path.name]
                known = np.where(counts, values, np.nan)
                np.testing.assert_allclose(file.values(chrom, 0, 40), known, rtol=1e-4, atol=1e-6)
    Explanation.load(tmp_path / "saved").save(tmp_path / "saved")  # replaces the folder
    with pyBigWig.open(str(saved / "positive.bw")) as file:
        assert file.chroms() == {"chr1": 40, "chr2": 20}  # up to the last record
    classes = targets_learner(CLASSES)
    options = {"genome": tmp_path / "g.fa"}
    targets = [explain(classes, tmp_path / "a.bed", target=name, **options) for name in "ab"]
    for folder, explanation in (("first", targets[0]), ("both", concatenated(targets))):
        explanation.to_bigwig(tmp_path / folder)
    assert {path.name for path in (tmp_path / "both").glob("b[.-]*")} == {"b.bw", "b-count.bw"}
    first, both = (tmp_path / name / "a.bw" for name in ("first", "both"))
    assert first.read_bytes() == both.read_bytes()
    with pytest.raises(ArgumentError, match="no record has coordinates"):
        explain(scorer, SEQUENCES).to_bigwig(tmp_path / "none")
    (tmp_path / "short.fa").write_text(">2\nACGT\n>1\n" + chromosome + "\n")
    with pytest.raises(GenomeError, match="a record ends at 20, beyond the end of 2"):
        found.to_bigwig(tmp_path / "none", tmp_path / "short.fa")


def test_unsuitable_sequences_and_methods_are_refused():
    with pytest.raises(ArgumentError, match="no sequences to explain"):
        explain(scorer_of(), [])
    with pytest.raises(ArgumentError, match="has length 2, but the model needs at least 3"):
        explain(scorer_of(), ["ACGT", "AC"])
    for method in ("guided", Rollout):
        with pytest.raises(ArgumentError, match="pass an object such as Guided"):
            explain(scorer_of(), SEQUENCES, method=method)


def test_maps_round_trip_in_attribution_folder(tmp_path):
    scorer = scorer_of()
    letters = ascii_of(SEQUENCES[0])
    maps = attention_maps(scorer, letters, bins=5)
    reading = read_attention(scorer, SEQUENCES[:1])
    assert len(maps) == len(reading.layers[0])
    for layer, found in enumerate(maps):
        np.testing.assert_array_equal(found.weights, reading.map(layer=layer, bins=5).weights)
    explanation = explain(scorer, SEQUENCES)
    assert explanation.maps == {}
    mapped = {"not explained": MappedSequence(letters, -1.5, maps)}
    dataclasses.replace(explanation, maps=mapped).save(tmp_path / "attribution")
    read = Explanation.load(tmp_path / "attribution")
    assert (read.ids, read.alphabet) == (explanation.ids, "dna")
    for field in ("letters", "hypothetical", "attention"):
        np.testing.assert_array_equal(getattr(read, field), getattr(explanation, field))
    ((name, loaded),) = read.maps.items()
    assert (name, loaded.score) == ("not explained", -1.5)
    np.testing.assert_array_equal(loaded.letters, letters)
    for found, saved in zip(loaded.layers, maps, strict=True):
        np.testing.assert_array_equal(found.edges, saved.edges)
        np.testing.assert_array_equal(found.weights, saved.weights)
    (tmp_path / "attribution" / "maps.npz").write_bytes(b"PK")
    with pytest.raises(ResultsError, match=r"maps\.npz: cannot read this file: "):
        Explanation.load(tmp_path / "attribution")


def test_sequence_is_plotted_with_base_scores():
    explanation = explain(scorer_of(), SEQUENCES)
    assert repr(explanation) == "Explanation of 3 DNA sequences of at most 20 positions"
    for unknown in (7, "no such id", None):
        with pytest.raises(ArgumentError, match="there is no sequence"):
            explanation.plot(unknown)
    of_id = explanation.plot(explanation.ids[2]).axes[0]
    axes = explanation.plot(2).axes[0]
    assert of_id.get_title("left") == axes.get_title("left")
    codes = ["ACGT".index(letter) for letter in SEQUENCES[2]]
    observed = explanation.hypothetical[2, range(15), codes]
    boxes = [patch.get_path().get_extents() for patch in axes.patches]
    drawn = {int(box.x0): box.y1 if box.y1 > 1e-9 else box.y0 for box in boxes}
    assert len(drawn) > 5
    for at, height in drawn.items():
        assert height == pytest.approx(observed[at], rel=1e-5)
    assert axes.get_title("left") == "2"
    explanation.records.loc[2, "id"] = "sp|P12345|A_MOUSE"
    assert explanation.plot("P12345").axes[0].get_title("left") == "sp|P12345|A_MOUSE"


def test_broken_attribution_folders(tmp_path):
    folder = tmp_path / "attribution"
    explanation = explain(scorer_of(), SEQUENCES)
    explanation.save(folder)
    (folder / "attribution.npz").write_bytes((folder / "attribution.npz").read_bytes()[:100])
    with pytest.raises(ResultsError, match=r"attribution\.npz: cannot read this file: "):
        Explanation.load(folder)
    (folder / "attribution.npz").unlink()
    with pytest.raises(ResultsError, match=r"attribution\.npz: file not found"):
        Explanation.load(folder)
    dataclasses.replace(explanation, records=explanation.records[:2]).save(folder)
    with pytest.raises(ResultsError, match="have different numbers of records: 2 and 3"):
        Explanation.load(folder)
    (folder / "thesis.tex").touch()
    with pytest.raises(OutputError, match=r"it contains 'thesis\.tex'"):
        explanation.save(folder)


def test_dna_motifs_need_a_database_by_name():
    explanation = explain(scorer_of(), ["ACGTACGT"])
    with pytest.raises(ArgumentError, match=r"no motif database is named.*jaspar:vertebrates"):
        explanation.find_motifs()
    assert explanation.find_motifs(None).table.empty


def test_database_of_other_letters_is_a_warning(caplog):
    explanation = explain(scorer_of(alphabet="rna", k=1), ["ACGUACGU"])
    explanation.find_motifs("none")
    assert "not matched" not in caplog.text
    explanation.find_motifs("jaspar:insects")
    assert "motifs are not matched: 'jaspar:insects' has no RNA motifs" in caplog.text


def test_protein_is_explained_and_its_motifs_have_no_match(caplog):
    caplog.set_level("INFO", "selfattn_bio")
    explanation = explain(scorer_of(alphabet="protein", k=1), ["MKVLAAGIV", "MKV"])
    assert explanation.hypothetical.shape == (2, 9, 20)
    motifs = explanation.find_motifs()
    assert motifs.table.empty
    assert caplog.messages[0].startswith("0 motifs from 0 seqlets of 2 sequences: no stretch of")
    assert motifs.notes == {explanation.targets[0]: caplog.messages[0]}
    with pytest.raises(ArgumentError, match="caller modisco needs sequences with a reverse comp"):
        explanation.find_motifs(caller=Modisco())
    seqlets = pd.DataFrame(columns=["record", "start", "end", "strand"])
    found = SeqletPattern(np.eye(20, dtype=int)[:4] * 30, seqlets, alphabet=PROTEIN)
    motifs = build_motifs([found], explanation.records, {})
    row = motifs.table[["consensus", "match", "other_matches"]].loc[0]
    assert row.tolist() == ["ACDE", "", ""]
    assert motifs.table["match_q"].isna().all()
    assert "ALPHABET= ACDEFGHIKLMNPQRSTVWY\n\nBackground" in motifs.to_meme()
    motifs.plot()


def records_of(*rows):
    return pd.DataFrame(rows, columns=["id", "chrom", "start", "end", "strand"])


def motif_set():
    counts = np.array([[18, 1, 1, 0], [0, 0, 20, 0], [5, 5, 5, 5], [0, 10, 0, 10], [20, 0, 0, 0]])
    seqlets = pd.DataFrame({"record": [0, 1], "start": [3, 0], "end": [8, 5], "strand": ["+", "-"]})
    records = records_of(("a", "chr1", 100, 120, "-"), ("b", None, None, None, None))
    records = records.astype({"start": "Int64", "end": "Int64"})
    rng = np.random.default_rng(0)
    database = {f"d{i}": rng.dirichlet(np.full(4, 0.3), size=8) for i in range(30)}
    return build_motifs([SeqletPattern(counts, seqlets)], records, database)


def test_motif_set_can_be_queried_and_written(tmp_path):
    motifs = motif_set()
    assert repr(motifs) == "MotifSet of 1 motif: motif_01 AGNYA"
    assert repr(motifs["motif_01"]) == "Motif motif_01 AGNYA of 2 sites"
    np.testing.assert_allclose(motifs["motif_01"].ppm.sum(axis=1), 1)
    row = motifs.table.loc[0, ["name", "consensus", "num_sites"]].tolist()
    assert row == ["motif_01", "AGNYA", 2]
    assert motifs.table.loc[0, "match"] == ""  # its q is above .05
    assert motifs[0] is motifs[-1] is motifs["motif_01"]
    with pytest.raises(KeyError, match="no motif 'motif_02'; there are motif_01"):
        motifs["motif_02"]
    assert motifs.to_meme(tmp_path / "m.meme") is None
    assert motifs.to_meme() == (tmp_path / "m.meme").read_text()
    motifs.to_bed(tmp_path / "m.bed")
    lines = "b\t0\t5\tmotif_01\t1000\t-\nchr1\t112\t117\tmotif_01\t1000\t-\n"
    assert (tmp_path / "m.bed").read_text() == lines
    assert motifs.plot().axes[0].get_title(loc="left").startswith("motif_01  ")
    assert len(motifs.plot(["motif_01", "motif_01"]).axes) == 2
    with pytest.raises(KeyError, match="no motif 'motif_02'"):
        motifs.plot(["motif_02"])


def test_outputs_and_verdicts_of_several_motifs_are_named():
    first = motif_set()
    names = ["motif_01", "motif_02"]
    motifs = tuple(dataclasses.replace(first["motif_01"], name=name) for name in names)
    table = pd.concat([first.table] * 2, ignore_index=True)
    table = table.assign(
        name=names, target=["kinase", "zinc"], verdict=["inconclusive", "supported"]
    )
    both = MotifSet(motifs, table, first.records)
    assert repr(both) == (
        "MotifSet of 2 motifs, 1 supported: motif_01 AGNYA inconclusive, motif_02 AGNYA supported"
    )
    titles = [axes.get_title(loc="left") for axes in both.plot().axes]
    assert titles == ["motif_01 of kinase  ", "motif_02 of zinc  "]


def test_motif_set_is_read_as_saved(tmp_path):
    motifs = motif_set()
    counts = np.array([[2, 0, 0, 0], [0, 0, 2, 0], [1, 1, 0, 0], [0, 1, 0, 1], [2, 0, 0, 0]])
    motif = dataclasses.replace(motifs["motif_01"], pfm=counts)
    about = {"source": {"weights_sha256": "e"}, "notes": {"heart": "0 motifs from 5 seqlets"}}
    motifs = dataclasses.replace(motifs, motifs=(motif,), **about)
    motifs.save(tmp_path / "one")
    read = MotifSet.load(tmp_path / "one")
    assert repr(read) == repr(motifs)
    assert (read.source, read.notes) == (motifs.source, motifs.notes)
    np.testing.assert_array_equal(read["motif_01"].pfm, motifs["motif_01"].pfm)
    pd.testing.assert_frame_equal(read.table, motifs.table, rtol=1e-5, check_dtype=False)
    read.save(tmp_path / "two")
    for name in ("motifs.meme", "motifs.tsv", "discovery_seqlets.bed", "logos/motif_01.svg"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_motif_set_may_be_empty(tmp_path):
    motifs = build_motifs([], records_of(("a", None, None, None, None)), {})
    assert (len(motifs), list(motifs), len(motifs.table)) == (0, [], 0)
    assert {"name", "consensus", "num_sites", "match", "match_q"} <= set(motifs.table)
    assert motifs.to_meme().startswith("MEME version 4")
    assert motifs.to_bed(tmp_path / "m.bed").empty
    assert len(motifs.plot().axes) == 1
    motifs.save(tmp_path / "none")
    assert repr(MotifSet.load(tmp_path / "none")) == "MotifSet without motifs"
    with pytest.raises(ResultsError, match=r"file not found\. Run `selfattn-bio"):
        MotifSet.load(tmp_path / "absent")


def test_motif_html_has_logos_and_is_escaped():
    motifs = motif_set()
    table = motifs.table.assign(match="<b>Trl</b>", effect=[float("nan")])
    html = dataclasses.replace(motifs, table=table)._repr_html_()
    page = parseString(html)
    heads = [head.firstChild.data for head in page.getElementsByTagName("th")]
    assert heads[:3] == ["name", "logo", "target"]
    assert len(page.getElementsByTagName("tr")) == 2
    (svg,) = page.getElementsByTagName("svg")
    assert svg.getAttribute("aria-label") == "logo of motif_01"
    assert "&lt;b&gt;Trl&lt;/b&gt;" in html
    assert "nan" not in html
    one = motifs["motif_01"]._repr_html_()
    assert len(parseString(one).getElementsByTagName("svg")) == 1
    assert "2 sites" in one
    assert "<svg" not in MotifSet((), motifs.table[:0], motifs.records)._repr_html_()


def test_explanation_html_is_short_and_escaped():
    explanation = explain(scorer_of(), ["ACGTTGCA" * 50, *SEQUENCES], method=AttnLRP())
    records = explanation.records.assign(id=["<i>", "b", "c", "d"])
    html = dataclasses.replace(explanation, records=records)._repr_html_()
    svgs = parseString(html).getElementsByTagName("svg")
    labels = [svg.getAttribute("aria-label") for svg in svgs]
    assert labels == [f"letter track of {name}" for name in ("<i>", "b", "c")]
    assert svgs[0].getAttribute("width") == "2000"
    start, end = best_window(explanation.track(0).sum(axis=1), 200)
    assert f"&lt;i&gt;, positions {start + 1} to {end} of 400" in html
    assert "<i>" not in html
    assert len(html) < 60_000
    received = explain(scorer_of(), SEQUENCES, method=Received())._repr_html_()
    assert "(received (raw attention))" in received


SITE = (880, 888)


@pytest.fixture
def plotted():
    """Return a record of 1,000 bp with small random scores, and large ones at `SITE`."""
    scores = np.random.default_rng(0).normal(0, 0.02, (1, 1000, 4)).astype(np.float32)
    scores[0, slice(*SITE)] += 1
    record = {"id": "a", "target": "label", "length": 1000}
    record |= {"chrom": "chr1", "start": 5000, "end": 6000, "strand": "-"}
    letters = ascii_of(b"ACGT" * 250)[None]
    return Explanation(pd.DataFrame([record]), letters, scores, scores[..., 0], "dna")


def limits(figure):
    return figure.axes[0].get_xlim()


def numbered(axes):
    """Return the number below each position that has one, by its middle on the axis."""
    texts = [label.get_text() for label in axes.get_xticklabels()]
    return dict(zip(axes.get_xticks(), texts, strict=True))


def test_default_region_has_the_planted_site(plotted):
    start, end = limits(plotted.plot(0))
    assert end - start == 100
    assert start + 10 < SITE[0] < SITE[1] < end - 10
    axes = plotted.plot(0, (20, 30)).axes[0]
    # the letter at index 20 is number 21, as in samtools
    assert numbered(axes) == {number - 0.5: str(number) for number in range(21, 31)}
    assert axes.get_xlabel() == "position in the sequence, 21 to 30 of 1,000"
    assert numbered(plotted.plot(0, "a:21-30").axes[0]) == numbered(axes)
    html = plotted._repr_html_()
    assert "positions 1 to" not in html
    assert "of 1000" in html


@pytest.mark.parametrize(
    ("region", "drawn"),
    [
        ((870, 900), (870, 900)),
        ((np.int64(0), np.int64(1)), (0, 1)),
        ("all", (0, 1000)),
        ("a:871-900", (870, 900)),
        ("a:971", (970, 1000)),
        ("chr1:5,101-5,130", (870, 900)),  # the record is on the reverse strand
    ],
)
def test_region_chooses_the_positions(plotted, region, drawn):
    assert limits(plotted.plot(0, region)) == drawn


@pytest.mark.parametrize(
    "region",
    [
        *((900, 870), (5, 5), (-5, 10), (990, 1001), (1, 2, 3), (0.5, 9), 7),
        *("b:1-9", "a:0-9", "a:9-5", "a:5-1001", "9-20", "chr1:1-9", "chr2:5101-5130", ""),
    ],
)
def test_wrong_region_is_an_error(plotted, region):
    with pytest.raises(ArgumentError, match=r"is not within 'a', which has positions \[0, 1000\)"):
        plotted.plot(0, region)


def test_substitutions_are_drawn_on_the_chromosome():
    rows = [
        ("chr1", position, "A", alt, -float(5401 <= position <= 5408))
        for position in [*range(5001, 5601), 5701]
        for alt in "CGT"
    ]
    table = pd.DataFrame(rows, columns=["chrom", "pos", "ref", "alt", "effect"])
    found = Substitutions(table)
    start, end = limits(found.plot())
    assert end - start == 100
    assert start < 5390 < 5418 < end
    assert limits(found.plot("chr1:5,401-5,408")) == limits(found.plot((5400, 5408)))
    assert limits(found.plot("all")) == (5000, 5701)
    protein = Substitutions(table.assign(chrom="sp|P12345|A_MOUSE"))
    assert limits(protein.plot("P12345:5,401-5,408")) == (5400, 5408)
    with pytest.raises(ArgumentError, match=r"which has positions \[5000, 5701\)"):
        found.plot("chr1:1-9")
    with pytest.raises(ArgumentError, match="there are no substitutions at chr1:5611-5620"):
        found.plot((5610, 5620))
    assert found.plot().axes[2].get_ylabel() == "effect (logits)"


def test_substitutions_are_drawn_for_one_chosen_output():
    rows = [("p", 1, "A", "C", 0.5, -0.5), ("p", 2, "C", "D", 1.0, -1.0)]
    columns = ["chrom", "pos", "ref", "alt", "effect_kinase", "effect_zinc"]
    units = dict.fromkeys(("kinase", "zinc"), "log-odds")
    found = Substitutions(pd.DataFrame(rows, columns=columns), units, "protein")
    message = 'has 2 outputs; choose one of kinase, zinc. For example, add output="zinc"'
    with pytest.raises(ArgumentError, match=message):
        found.plot()
    _, heat, bar = found.plot("all", output="zinc").axes
    assert bar.get_ylabel() == "effect on zinc (log-odds)"
    # the unit of a number is its name
    name = "log2 half-life (mean, h)"
    table = found.table.rename(columns={"effect_zinc": f"effect_{name}"})
    letters, _, bar = Substitutions(table, {name: name}, "protein").plot("all").axes
    assert bar.get_ylabel() == "effect (log2 half-life (mean, h))"
    assert letters.get_ylabel() == "contribution\nof the residue"
    assert np.nanmin(heat.images[0].get_array()) == -1


def test_window_of_a_short_or_flat_sequence():
    assert best_window([]) == (0, 0)
    assert best_window([1.0] * 40) == (0, 40)
    assert best_window([0.0] * 300) == (100, 200)
