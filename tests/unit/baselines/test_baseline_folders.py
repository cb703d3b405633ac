"""Test exact effects of substitutions, saving and loading of every baseline."""

import json
from dataclasses import replace

import numpy as np
import pytest
from damaged_arrays import DAMAGES, damaged_files
from letters import ascii_of
from pretrained_folders import make_folder

from selfattn_bio.arrays import object_array
from selfattn_bio.baselines import BASELINES, Setup, load_baseline
from selfattn_bio.baselines.base import BIN, POSITION, PROFILE, RECORD, TWO_CLASSES
from selfattn_bio.baselines.forest import Forest
from selfattn_bio.config import (
    BinaryObjective,
    BinsObjective,
    LabelsObjective,
    ProfileObjective,
    RegressionObjective,
)
from selfattn_bio.errors import ModelFolderError, OutputError
from selfattn_bio.motifs import meme_text
from selfattn_bio.objectives.loss import UNKNOWN
from selfattn_bio.objectives.points import Points
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.sequence.policy import SequencePolicy

READABLE = {"dna": "ACGTACGTACGTN", "protein": "ACDEFGHIKLMNPQRSTVWYX"}
PLANTED = {"dna": b"GATAAG", "protein": b"KKRKLK"}
SECTIONS = {
    TWO_CLASSES: BinaryObjective(),
    RECORD: RegressionObjective(columns=("a", "b"), center=(0.5, 1.0), scale=(1.0, 2.0)),
    POSITION: LabelsObjective(column="labels", classes="XYZ"),
    BIN: BinsObjective(points="p.bed", bin=12),
    PROFILE: ProfileObjective(tracks={"a": ("a.bw",)}, width=20, scale=(1.0,)),
}
CASES = [(name, "given") for name in BASELINES]
CASES += [
    (name, "both")
    for name, kind in BASELINES.items()
    if kind.alphabets[0] == "dna" and "strands" in kind.reads
]
CALIBRATED = {"slope": 1, "threshold": 0.5}
UNCALIBRATED = [{"slope": slope} for slope in ("a", -1, 0, float("nan"))]
UNCALIBRATED += [{"intercept": float("inf")}, {"positive_fraction": 1.5}, {"threshold": 1.1}]
CARD, ARRAYS, WRONG = "baseline.json", "arrays.safetensors", r"calibration\.\w+: Input"


def records(alphabet, lengths, seed):
    rng = np.random.default_rng(seed)
    return [rng.choice(ascii_of(READABLE[alphabet]), length) for length in lengths]


def odd_records(alphabet):
    """Return short, repetitive, ambiguous and ordinary records."""
    letters = READABLE[alphabet]
    repeats = [letters[0] * 20, letters[:2] * 10, letters[-1] * 8 + letters[:8]]
    return [*records(alphabet, [38, 36, 5, 3, 1], 1), *map(ascii_of, repeats)]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    rng = np.random.default_rng(0)
    ppms = {f"m{width}": rng.dirichlet(np.full(4, 0.2), width) for width in (4, 6, 6, 9, 25)}
    path = tmp_path_factory.mktemp("database") / "d.meme"
    path.write_text(meme_text(ppms, dict.fromkeys(ppms, 10)))
    pretrained = make_folder(path.parent / "nt", "nucleotide_transformer")
    found = {}
    for name, strands in CASES:
        alphabet = BASELINES[name].alphabets[0]
        labels = np.arange(120) % 2
        letters = records(alphabet, rng.integers(36, 40, 120).tolist(), 2)
        for record in letters[1::2]:
            record[10:16] = ascii_of(PLANTED[alphabet])
        # They need equal lengths
        if name == "substitutions_linear":
            letters = [record[:36] for record in letters]
        section = SECTIONS[BASELINES[name].suits[0]]
        columns = {"id_column": "gene", "sequence_column": "seq"}
        header = {"header": r"^(?P<id>\w+)\|"}
        policy = SequencePolicy(get_alphabet(alphabet), gaps="remove", **columns, **header)
        database = str(path) if alphabet == "dna" else "none"
        others = {"threads": 1, "section": section, "pretrained": str(pretrained)}
        setup = Setup(policy, strands, database, **others)
        if section.kind == "regression":
            labels = np.stack([labels, np.where(rng.integers(4, size=120), labels, np.nan)], 1)
        elif section.kind == "labels":
            classes = (np.where(row == 67, UNKNOWN, row.astype(int) % 3) for row in letters)
            labels = object_array(list(classes))
        elif section.kind == "bins":
            places = (np.full(label, 13) for label in labels)
            points = [Points("c", 50 * i, 36, at, at % 2) for i, at in enumerate(places)]
            labels = object_array(points)
        elif section.kind == "profile":
            labels = object_array([np.full((1, 1, 1, 36), label, np.float32) for label in labels])
        train, valid = (letters[:84], labels[:84]), (letters[84:], labels[84:])
        found[name, strands] = BASELINES[name](setup).fit(*train, *valid)
    return found


@pytest.mark.parametrize(
    ("name", "strands"),
    [
        case
        for case in CASES
        if BASELINES[case[0]].suits[0] not in (POSITION, BIN)
        and case[0] != "pretrained_linear"  # see test_embeddings.py
    ],
)
def test_substitution_effects_equal_rescoring(name, strands, fitted):
    baseline = fitted[name, strands]
    alphabet, output = baseline.setup.alphabet, baseline.setup.num_outputs - 1
    letters = odd_records(alphabet.name)
    effects = baseline.substitution_effects(letters, output)
    largest = max(np.abs(of_record).max() for of_record in effects)
    assert (largest > 0.001) == (name not in ("length", "constant", "mean_profile"))
    for record, of_record in zip(letters, effects, strict=True):
        changed = np.repeat(record[None], len(record) * len(alphabet.letters), axis=0)
        at = np.repeat(np.arange(len(record)), len(alphabet.letters))
        changed[np.arange(len(changed)), at] = np.tile(list(alphabet.letters.encode()), len(record))
        rescored = (baseline.outputs(list(changed)) - baseline.outputs([record]))[:, output]
        assert of_record == pytest.approx(rescored.reshape(len(record), -1), abs=1e-9)
        codes = alphabet.codes(record)
        known = codes < len(alphabet.letters)
        assert (of_record[known, codes[known]] == 0).all()


def test_substitution_effects_join_the_trees_once(fitted, monkeypatch):
    baseline = next(of for (name, _), of in fitted.items() if name == "motif_scores")
    first = baseline.substitution_effects(odd_records("dna"))
    monkeypatch.setattr(Forest, "__post_init__", lambda self: pytest.fail("built again"))
    again = baseline.substitution_effects(odd_records("dna"))
    assert all(np.array_equal(*effects) for effects in zip(first, again, strict=True))


@pytest.mark.parametrize(("name", "strands"), CASES)
def test_saved_baselines_load_unchanged(name, strands, fitted, tmp_path):
    baseline = fitted[name, strands]
    origin = {"corpus_fingerprint": "f" * 64, "split_sha256": "0" * 64}
    baseline.save(tmp_path / name, origin)
    loaded = load_baseline(tmp_path / name)
    letters = odd_records(baseline.setup.alphabet.name)
    assert np.array_equal(loaded.outputs(letters), baseline.outputs(letters))
    assert loaded.calibration == baseline.calibration
    assert loaded.chosen() == baseline.chosen()
    assert replace(loaded.setup, threads=1) == baseline.setup
    assert loaded.origin == origin
    names = {path.name for path in (tmp_path / name).iterdir()}
    assert names == {"baseline.json", "arrays.safetensors"}
    loaded.save(tmp_path / name)  # replaces its own folder
    assert load_baseline(tmp_path / name).origin == origin


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (CARD, None, "baseline.json: file not found"),
        (CARD, b"{}", "version is missing"),
        (ARRAYS, None, "file 'arrays.safetensors' of the baseline is missing"),
        (ARRAYS, b"x", r"the file differs from its sha256 in baseline\.json"),
        (CARD, {"kind": ["gc"]}, "kind: Input should be a valid string"),
        (CARD, {"alphabet": "protein"}, "gc does not read the alphabet 'protein'"),
        (CARD, {"strands": "reverse"}, "strands: Input should be 'given' or 'both'"),
        (CARD, {"database": ""}, "database: String should have at least 1 character"),
        (CARD, {"settings": {}}, "penalties is missing"),
        (CARD, {"objective": {"kind": "labels"}}, r"objective\.labels\.column is missing"),
        (CARD, {"objective": SECTIONS[RECORD].model_dump()}, "there are 1 biases for 2 outputs"),
        (CARD, {"version": 2}, "version: Input should be 3"),
        (CARD, {"kind": "oracle"}, "unknown baseline 'oracle'; known: constant, "),
        (CARD, {"kind": "exact_positions"}, "blocks is missing"),
        *((CARD, {"calibration": CALIBRATED | each}, WRONG) for each in UNCALIBRATED),
    ],
)
def test_damaged_folders_are_refused(file, content, message, fitted, tmp_path):
    """A dict has other values of the card."""
    fitted["gc", "given"].save(tmp_path / "b")
    path = tmp_path / "b" / file
    if isinstance(content, dict):
        content = json.dumps(json.loads(path.read_text()) | content).encode()
    path.unlink()
    if content:
        path.write_bytes(content)
    with pytest.raises(ModelFolderError, match=message):
        load_baseline(tmp_path / "b")


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("damage", ["missing", *DAMAGES])
def test_damaged_array_is_refused(name, damage, fitted, tmp_path):
    fitted[name, "given"].save(tmp_path / "b")
    for array in damaged_files(tmp_path / "b" / "arrays.safetensors", damage):
        with pytest.raises(ModelFolderError, match=rf"arrays\.safetensors: .*\b{array}\b"):
            load_baseline(tmp_path / "b")


def test_other_folders_are_not_replaced(fitted, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(OutputError, match=r"it contains 'mine\.txt'"):
        fitted["gc", "given"].save(tmp_path)


def test_no_records_have_no_outputs(fitted):
    assert all(len(baseline.predictions([])) == 0 for baseline in fitted.values())
    assert fitted["gapped_kmers", "given"].substitution_effects([]) == []
