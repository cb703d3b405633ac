"""Test the names of files in a results folder."""

from pathlib import Path

from selfattn_bio import layout
from selfattn_bio.cli.main import COMMANDS
from selfattn_bio.layout import Layout


def test_layout_file_has_a_path_and_a_command():
    files = {name: file for name, file in vars(Layout).items() if isinstance(file, layout._File)}
    assert len({file.name for file in files.values()}) == len(files) > 20
    assert {file.step for file in files.values()} <= set(COMMANDS)
    mine = Layout(Path("results/mine"))
    assert all(getattr(mine, name) == mine.folder / file.name for name, file in files.items())
    assert (Layout.corpus.step, Layout.ranking.step) == ("ingest", "sweep")
