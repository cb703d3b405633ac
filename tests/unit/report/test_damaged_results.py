"""Test that missing, damaged and foreign results are refused with the step that repairs them."""

import pandas as pd
import pytest
from pages import read
from small_results import edit, make_results

from selfattn_bio.errors import ResultsError


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metrics.json", None, "not found. Run `selfattn-bio evaluate "),
        ("split.tsv", None, "not found. Run `selfattn-bio split "),
        ("audit.json", b"{}", "cannot read this file: 'limits'. Run `selfattn-bio audit "),
        ("metrics.json", b"no", "cannot read this file: "),
        ("attribution/attribution.npz", b"no", "cannot read this file: "),
        ("corpus/records.parquet", b"no", "cannot read this file: "),
        ("motifs.tsv", b"\n", "cannot read this file: .*Run `selfattn-bio motifs "),
        ("seqlets.bed", b"1\tx\t3\tm\t0\t+\n", "cannot read this file: invalid literal"),
    ],
)
def test_missing_or_damaged_file_is_named(tmp_path, name, text, message):
    make_results(tmp_path)
    (tmp_path / name).unlink()
    if text:
        (tmp_path / name).write_bytes(text)
    with pytest.raises(ResultsError, match=f"{name}: {message}"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "column", "step"),
    [
        ("motifs.tsv", "effect", "motifs"),
        ("marginals.tsv", "effect_low", "motifs"),
        ("interactions.tsv", "q", "interactions"),
        ("interactions.distances.tsv", "epistasis", "interactions"),
        ("interactions.measured.tsv", "both", "interactions"),
    ],
)
def test_damaged_table_names_its_column_and_step(tmp_path, name, column, step):
    make_results(tmp_path)
    table = pd.read_csv(tmp_path / name, sep="\t")
    for changed, problem in (
        (table.drop(columns=column), "is missing"),
        (table.assign(**{column: "x"}), "has text instead of numbers"),
    ):
        changed.to_csv(tmp_path / name, sep="\t", index=False)
        message = (
            f"{name}: cannot read this file: column '{column}' {problem}. Run `selfattn-bio {step} "
        )
        with pytest.raises(ResultsError, match=message):
            read(tmp_path)


@pytest.mark.parametrize(
    ("name", "command", "key", "what"),
    [
        ("model/provenance.json", "train", "corpus_fingerprint", "corpus"),
        ("metrics.json", "evaluate", "split_sha256", "split"),
        ("attribution", "explain", "corpus_fingerprint", "corpus"),
        ("motifs.json", "motifs", "split_sha256", "split"),
        ("attribution", "explain", "weights_sha256", "model"),
        ("motifs.json", "motifs", "weights_sha256", "model"),
        ("interactions.json", "interactions", "weights_sha256", "model"),
    ],
)
def test_result_of_other_records_is_refused(tmp_path, name, command, key, what):
    make_results(tmp_path)
    path = tmp_path / name
    edit(path / "attribution.json" if path.is_dir() else path, **{key: "0" * 64})
    message = f"{name}: this is the result of another {what}. Run `selfattn-bio {command} "
    with pytest.raises(ResultsError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("folder", ["model", "members/2/model", "variants/cnn/model"])
def test_evaluation_of_another_model_is_refused(tmp_path, folder):
    make_results(tmp_path)
    edit(tmp_path / "metrics.json", weights={folder: "e" * 64, "variants/removed/model": "1" * 64})
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    provenance = tmp_path / folder / "provenance.json"
    provenance.write_text((tmp_path / "model" / "provenance.json").read_text())
    edit(provenance, weights_sha256="e" * 64)
    read(tmp_path)
    edit(provenance, weights_sha256="2" * 64)
    message = (
        rf"metrics\.json: this is the result of another {folder}\. Run `selfattn-bio evaluate "
    )
    with pytest.raises(ResultsError, match=message):
        read(tmp_path)
