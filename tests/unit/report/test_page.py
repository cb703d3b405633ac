import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from page_tables import rows_of, tables_of

import selfattn_bio
from selfattn_bio.config import RunFile, StackSection
from selfattn_bio.report import words
from selfattn_bio.report.page import write_report
from selfattn_bio.report.results import read_results
from selfattn_bio.report.tables import leakage_tables

Maker = Callable[..., RunFile]


def page_of(folder: Path, run: RunFile) -> str:
    write_report(read_results(run, folder), folder / "report.html", "small_task")
    return (folder / "report.html").read_text(encoding="utf-8")


def test_write_report_names_the_task(tmp_path: Path, results_maker: Maker) -> None:
    results = tmp_path / "small"
    run = results_maker(results)
    page = selfattn_bio.write_report(run, results, results / "report.html")
    assert page == results / "report.html"
    assert "selfattn-bio run train_small<" in page.read_text(encoding="utf-8")
    named = run.read_from(Path("tasks/mine.toml"))
    selfattn_bio.write_report(named, results, page)
    assert "selfattn-bio run train_mine<" in page.read_text(encoding="utf-8")


AUDIT = {
    "records": {"test": 80, "train": 40},
    "similarity": 0.15,
    **{
        "near": 3,
        "near_other_label": 1,
        "duplicates": 0,
        "overlaps": 0,
        "shared": {"species": 7},
        "seen": 0,
    },
    "nearest": [{"from": 0.15, "to": 1.0, "count": 2}, {"from": 1.0, "to": 1.0, "count": 1}],
    "shifts": [
        {
            "what": "length",
            "split": "test",
            "train": 60.0,
            "other": 61.5,
            "effect": 0.25,
            "effect_is": "Cohen's d",
            "test": "K-S",
            "p": 0.003,
        }
    ],
    "warnings": ["3 test records have a near neighbour"],
    "limits": {
        "max_duplicates": 0,
        "max_overlaps": 0,
        "max_seen": 0,
        "max_shared": None,
        "max_near": 0.1,
        "max_similarity": 1.0,
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, results_maker: Maker) -> Path:
    """Write a results folder and its page, shared by tests because drawing takes seconds."""
    path = tmp_path_factory.mktemp("results") / "small"
    run = results_maker(path)
    (path / "audit.json").write_text(json.dumps(AUDIT))
    page_of(path, run)
    return path


def test_private_run_reports_its_budget_and_scope(tmp_path: Path, results_maker: Maker) -> None:
    run = results_maker(tmp_path / "private")
    metrics = json.loads((tmp_path / "private" / "metrics.json").read_text())
    metrics["privacy"] = {"epsilon": 2.987, "delta": 1e-5, "steps": 1500}
    (tmp_path / "private" / "metrics.json").write_text(json.dumps(metrics))
    history = tmp_path / "private" / "model" / "history.csv"
    pd.read_csv(history).drop(columns="train_loss").to_csv(history, index=False)
    page = page_of(tmp_path / "private", run)
    assert (
        "Differentially private training: epsilon 2.99 at delta 1e-05 after 1,500 steps. The "
        "weights in <code>model/</code> protect each training record." in page
    )
    assert "Private runs do not report the training loss." in page
    assert "training loss</text>" not in page


def test_stacked_model_reports_its_weights(tmp_path: Path, results_maker: Maker) -> None:
    run = results_maker(tmp_path).model_copy(
        update={"stack": StackSection(parts=("exact_positions", "composition"))}
    )
    stored = {"weights": {"network": 0.08, "exact_positions": 1.27, "composition": 0.5}}
    stored |= {"bias": -0.4, "weights_sha256": ""}
    (tmp_path / "model" / "stack").mkdir()
    (tmp_path / "model" / "stack" / "weights.json").write_text(json.dumps(stored))
    page, times = page_of(tmp_path, run), "\N{MULTIPLICATION SIGN}"
    head = page.partition("<header>")[2].partition("</header>")[0]
    name = words.classifier_name("exact_positions", short=True)
    assert (
        f"The score combines the network with simple models: 0.08 {times} network + 1.27 {times} "
        f"{name} + 0.50 {times} composition {words.MINUS} 0.40." in head
    )
    assert "These curves show the network only." in page


def test_page_without_stack_has_no_weights(page: str) -> None:
    assert "simple models" not in page
    assert "network only" not in page


def test_page_names_the_command_that_reproduces_it(page: str) -> None:
    assert "<code>selfattn-bio run train_small_task</code>" in page


def test_performance_names_both_thresholds(page: str) -> None:
    section = page.split('id="performance"', 1)[1].split("</section>", 1)[0]
    assert (
        "MCC, accuracy and F1 use these thresholds (0.377 for the model); those at 0.5 use a "
        "threshold of 0.5." in section
    )
    assert "bootstrap intervals over 80 records, 50 resamples" in section
    assert "if perfectly calibrated), calibration slope" in section


def test_groups_have_a_table_with_the_worst_and_the_gap(page: str, folder: Path) -> None:
    section = page.partition('<section id="groups">')[2].partition("</section>")[0]
    assert "By tissue: AUROC: no gap beyond chance (p = " in section
    assert "treats records as independent." in section
    slices, groups = tables_of(page, "groups")
    assert all(name.startswith("GC content ") for name in slices)
    found = json.loads((folder / "metrics.json").read_text())["groups"]["tissue"]
    assert set(groups) == {"gut", "liver (lowest AUROC)", "rare"}
    for entry in found["groups"]:
        row = groups[entry["group"] + " (lowest AUROC)" * (entry["group"] == found["worst"])]
        assert (row["records"], row["positives"]) == (str(entry["n"]), str(entry["positives"]))
        for heading, classifier, metric in (
            ("AUROC, model", "model", "auroc"),
            ("accuracy, model", "model", "accuracy"),
            ("AUROC, best baseline", "cnn", "auroc"),
        ):
            known = entry[classifier]
            text = f"{known[metric]['value']:.3f} " if known else "one class only"
            assert row[heading].startswith(text)
    assert '<a href="#groups">Groups</a>' in page


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_loads_nothing(page: str) -> None:
    parser = _Tags()
    parser.feed(page)
    for tag, attributes in parser.found:
        assert tag not in ("link", "img", "iframe", "object", "embed", "image"), tag
        assert "src" not in attributes, tag
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#"), attributes
    assert not re.search(r"url\((?!#)|@import", page)
    assert "default-src 'none'" in page
    assert len(page) < 10_000_000


def test_the_answer_comes_first(page: str) -> None:
    head = re.sub(r"<[^>]+>", "", page[page.index("<header>") : page.index("</header>")])
    for part in (
        "AUROC on 80 test records",
        "best baseline: CNN",
        "paired bootstrap",
        "1 of 3 motifs is supported",
        "Dref",
    ):
        assert part in head


def test_insignificant_match_is_not_shown(tmp_path: Path, results_maker: Maker) -> None:
    motifs = [
        (
            "motif_01",
            "TATNC",
            9,
            "Trl (MA0205.3)",
            1.0,
            1.0,
            1.0,
            0.5,
            3,
            6,
            9,
            *[float("nan")] * 5,
            9,
            "inconclusive",
        )
    ]
    page = page_of(tmp_path, results_maker(tmp_path, motifs=motifs))
    (motif,) = rows_of(page, "motifs")[0]
    assert motif["match"] == "none known nearest: Trl (MA0205.3), q = 1"


def test_motifs_without_a_database_have_no_names(tmp_path: Path, results_maker: Maker) -> None:
    motifs = [
        (
            "motif_01",
            "TATNC",
            9,
            "",
            float("nan"),
            float("nan"),
            1.0,
            0.5,
            3,
            6,
            9,
            *[float("nan")] * 5,
            9,
            "inconclusive",
        )
    ]
    run = results_maker(tmp_path, motifs=motifs)
    page = page_of(
        tmp_path, RunFile.model_validate(run.model_dump() | {"interpret": {"database": "none"}})
    )
    assert "No motif database was searched (<code>database = " in page
    assert '<span class="muted">no database</span>' in page
    assert "No motif database was searched.</small>" in page
    assert "Matches are from" not in page


def test_unknown_labels_have_no_row_of_leaks() -> None:
    known, unknown = (
        [row.cells["match among these records"] for row in leakage_tables(audit)["leaks"].rows]
        for audit in (AUDIT, AUDIT | {"near_other_label": None})
    )
    assert known == [*unknown, "near neighbour with a different label"]


def test_verdicts_are_reported(page: str) -> None:
    text = " ".join(page.split())
    assert (
        "<b>Contradicted</b>: the score increases when the sites are shuffled (effect of at most "
        f"{words.MINUS}0.1, q below 0.05, interval below 0)." in text
    )
    assert "Matches are from JASPAR 2026 CORE, insects" in text
    assert "cannot be below 0.001" in text


def test_page_has_the_false_positive_rate(page: str) -> None:
    assert "of 20 meaningless motifs" in page


def test_text_from_files_is_escaped(tmp_path: Path, results_maker: Maker) -> None:
    evil = "<script>alert(1)</script>"
    motif = (
        evil,
        "TAT<b>",
        12,
        evil,
        0.01,
        0.1,
        0.1,
        1.5,
        3,
        2,
        5,
        0.2,
        0.1,
        0.3,
        0.01,
        0.01,
        30,
        "inconclusive",
    )
    folder = tmp_path / "a"
    run = results_maker(folder, motifs=[motif], prefix="<i>")
    run = run.model_copy(update={"title": evil})
    page = page_of(folder, run)
    assert "alert(1)</script>" not in page
    assert "TAT<b>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_figure_ids_are_unique(page: str) -> None:
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)


def test_plots_are_saved_next_to_page(folder: Path) -> None:
    names = [
        "attention",
        "calibration",
        "comparison",
        "distance_0",
        "evidence",
        "learning",
        "marginal_motif_01",
        "precision_recall",
        "roc",
        "slices_gc",
    ]
    assert sorted(path.name for path in (folder / "plots").iterdir()) == [
        f"{name}.{kind}" for name in names for kind in ("png", "svg")
    ]


def test_generated_negatives_have_their_own_description(
    tmp_path: Path, results_maker: Maker
) -> None:
    page = page_of(tmp_path, results_maker(tmp_path))
    assert (
        page.count("<dt>data/p.fa.gz</dt>")
        == page.count("<dt>shuffled negatives generated from data/p.fa.gz</dt>")
        == 1
    )


def test_motif_table_shows_the_evidence(page: str) -> None:
    first, _, last = rows_of(page, "motifs")[0]
    assert {name: text for name, text in first.items() if name != "logo"} == {
        "motif": "motif_01 TATNC 120 sites",
        "match": "Dref q = 2e-08",
        "enrichment": "odds ratio 19 30 of 40 positives, 2 of 40 negatives; q = 3e-20",
        "effect": "+0.81 +0.62 to +1.01 log-odds; q = 0.002",
        "verdict": "supported",
    }
    assert last["effect"] == "not measured 9 records with a site; 30 are needed"


def test_page_without_motifs(tmp_path: Path, results_maker: Maker) -> None:
    page = page_of(tmp_path, results_maker(tmp_path, motifs=[]))
    assert "No motif was found" in page


def test_motifs_of_protein_have_no_match(tmp_path: Path, results_maker: Maker) -> None:
    run = results_maker(tmp_path, motifs=[])
    corpus = tmp_path / "corpus" / "corpus.json"
    corpus.write_text(corpus.read_text().replace('"dna"', '"protein"'))
    shutil.rmtree(tmp_path / "attribution")  # it contains DNA
    assert "No motif was found" in page_of(tmp_path, run)


def test_page_without_interpretation(tmp_path: Path, results_maker: Maker) -> None:
    run = results_maker(tmp_path)
    for path in (
        "motifs.tsv",
        "motifs.meme",
        "seqlets.bed",
        "discovery_seqlets.bed",
        "marginals.tsv",
    ):
        (tmp_path / path).unlink()
    shutil.rmtree(tmp_path / "attribution")
    page = page_of(tmp_path, run)
    assert "Motifs were not searched for" in page
    assert "Leakage was not checked. Run <code>selfattn-bio audit</code>." in page


def test_motifs_of_steps_run_by_hand_are_shown(
    tmp_path: Path, results_maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = results_maker(tmp_path)
    monkeypatch.setattr(RunFile, "is_interpreted", False)  # of the workflow
    assert '<section id="motifs">' in page_of(tmp_path, run)


def test_every_figure_states_a_finding(page: str) -> None:
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page, re.DOTALL)
    assert len(captions) == 10
    for caption in captions:
        assert re.match(r"<b>[A-Z].+\.</b> [A-Z]", caption), caption


def test_leakage_table_shows_limits(page: str) -> None:
    leaks, nearest, shifts = tables_of(page, "leakage")
    assert leaks["near neighbour (at least 0.15 of k-mers shared)"] == {
        "test records": "3",
        "limit": "8",
    }
    assert leaks["same species"] == {"test records": "7", "limit": "none"}
    assert leaks["identical sequence on either strand"] == {"test records": "0", "limit": "0"}
    assert nearest == {"0.15 to 1.0": {"test records": "2"}, "1.0": {"test records": "1"}}
    assert shifts == {
        "length, test": {
            "mean in training": "60.000",
            "mean in the split": "61.500",
            "effect": "+0.250 Cohen's d",
            "p": "0.003 K-S",
        }
    }
    assert "3 test records have a near neighbour." in page


def test_motifs_have_cards_and_one_search(page: str) -> None:
    cards = re.findall(r'<article class="card" id="(card-\d)" data-search="([^"]+)">', page)
    rows = re.findall(r'<tr data-search="([^"]+)"', page)
    assert [name for name, _ in cards] == ["card-1", "card-2", "card-3"]
    assert [search for _, search in cards] == rows
    assert rows[0] == "motif_01 positive tatnc supported dref (ma1456.2)"
    assert rows[1].endswith("none known")
    assert (
        "Dref (MA1456.2), best match, q&nbsp;=&nbsp;2e-08; also similar: BEAF-32 (MA0529.3)" in page
    )


def test_effects_of_motifs_alone_are_reported(tmp_path: Path, results_maker: Maker) -> None:
    run = results_maker(tmp_path)
    shown = page_of(tmp_path, run).partition('<section id="marginals">')[2]
    shown = shown.partition("</section>")[0]
    assert (
        "Supported motifs that raise the prediction alone, in neutral backgrounds: 1 of 1; that "
        "lower it: 0. The effect depends on the position for 1 and on the strand for 0." in shown
    )
    assert (
        "<b>Mean effect +0.40 (+0.05 to +0.60).</b> Largest if the site starts at 41 to 45 on the "
        "- strand (+1.25). Dependence on the position: q = 0.003, on the strand: q = 0.2." in shown
    )
    assert "epistasis of 1 of 1 pair depends on the distance between the sites." in shown
    assert "<b>Mean epistasis +0.30 (+0.20 to +0.40).</b> Largest at 10 bp (+0.90)." in shown
    assert shown.count("<figure") == 2
    assert (tmp_path / "plots" / "marginal_motif_01.svg").exists()
    for name in ("motifs.tsv", "interactions.tsv"):  # tables of earlier versions
        table = pd.read_csv(tmp_path / name, sep="\t")
        old = [column for column in table if column.startswith("marginal")]
        table.drop(columns=old).to_csv(tmp_path / name, sep="\t", index=False)
    for name in ("marginals.tsv", "interactions.distances.tsv"):
        (tmp_path / name).unlink()
    assert 'id="marginals"' not in page_of(tmp_path, run)


def test_motif_pairs_are_reported(tmp_path: Path, results_maker: Maker) -> None:
    run = results_maker(tmp_path)
    page = page_of(tmp_path, run)
    pairs = pd.read_csv(tmp_path / "interactions.tsv", sep="\t")
    shown = page.partition('<section id="interactions">')[2].partition("</section>")[0]
    for row in pairs.to_dict("records"):
        assert f'<span class="verdict {row["verdict"]}">' in shown
    names = ["motif_01 (Dref) and motif_02", "motif_01 (Dref) and motif_03 (Trl)"]
    assert re.findall(r'<th scope="row">([^<]*)</th>', shown) == names
    assert "2 pairs of motifs tested: 1 supported, 0 redundant." in shown
    (rows,) = tables_of(page, "interactions")
    assert rows[names[0]] == {
        "records tested": "62 of 62",
        "epistasis": "+0.61 +0.42 to +0.80",
        "q": "0.004",
        "most enriched spacing, bp": "5 to 9 8.5-fold, q = 0.003",
        "most enriched strands": "+- 2.7-fold, q = 0.002",
        "closest pair": "0.83",
        "verdict": "supported",
    }
    pairs.assign(verdict=["inconclusive", "redundant"]).to_csv(
        tmp_path / "interactions.tsv", sep="\t", index=False
    )
    shown = page_of(tmp_path, run).partition('<section id="interactions">')[2]
    # Redundant pairs come before inconclusive ones
    assert re.findall(r'<th scope="row">([^<]*)</th>', shown)[:2] == names[::-1]
    pairs[:0].to_csv(tmp_path / "interactions.tsv", sep="\t", index=False)
    assert "No two motifs occur together" in page_of(tmp_path, run)
    (tmp_path / "interactions.tsv").unlink()
    assert "Pairs of motifs were not tested" in page_of(tmp_path, run)
