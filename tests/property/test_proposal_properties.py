"""Test that names in the data reach a run file only as values, whatever their characters."""

import tomllib

from hypothesis import given, settings
from hypothesis import strategies as st

from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.wizard.columns import target_of
from selfattn_bio.wizard.contents import Contents
from selfattn_bio.wizard.draft import draft
from selfattn_bio.wizard.request import Request

AWKWARD = st.sampled_from("\n\r\t\"'\\\\#[]=\x1b\x7f\x85\u2028")
NAMES = st.text(st.characters(exclude_categories=("Cs",)) | AWKWARD, min_size=1, max_size=12)
NUMBER, LENGTH = 40, 30
TABLES = {"data", "split", "tokens", "training", "interpret"}


@settings(deadline=None, max_examples=300, derandomize=True)
@given(
    column=NAMES,
    sequence=NAMES,
    split=NAMES,
    file=NAMES,
    classes=st.lists(NAMES, min_size=2, max_size=3, unique_by=str.strip),
)
def test_names_are_only_values(column, sequence, split, file, classes):
    column, split = f"c{column}", f"s{split}"
    values = [f"class {classes[i % len(classes)]}" for i in range(NUMBER)]
    contents = Contents(
        DNA,
        files=["sequences"] * NUMBER,
        ids=[f"r{i}" for i in range(NUMBER)],
        lengths=[LENGTH] * NUMBER,
        keys=[bytes([i]) for i in range(NUMBER)],
        chromosomes=[None] * NUMBER,
        groups=[None] * NUMBER,
        columns={column: values, split: ["train", "valid", "test", "train"] * (NUMBER // 4)},
        sequence_column=sequence,
        is_table=True,
    )
    request = Request("mine", {"sequences": [file]}, columns=(column,), split_column=split)
    written = tomllib.loads(draft(request, contents)[0])
    target = target_of(column, values, contents.lengths, DNA)
    data = {"alphabet": "dna", "sequences": [file], "max_length": LENGTH}
    if sequence != "sequence":
        data["columns"] = {"sequence": sequence}
    if target.kind == "binary":
        data |= {"label": column, "positive": list(target.positive)}
    else:
        assert written.pop("objective") == {"kind": "multiclass", "column": column}
    assert written["data"] == data
    assert written["split"] == {"kind": "column", "column": split}
    assert written.keys() == {"title", *TABLES}
