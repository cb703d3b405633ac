"""Test the tables of the page."""

import pandas as pd

from selfattn_bio.report.tables import split_table
from selfattn_bio.sequence.split_table import NO_VALUE


def test_records_without_value_have_a_row(results):
    records = results.records.assign(reason=NO_VALUE, split="dropped")
    rows = split_table(pd.concat([results.records, records]), "random").rows
    assert rows[-1].cells["split"] == "dropped: no value to learn"
