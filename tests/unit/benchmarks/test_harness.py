"""Test the harness of the benchmarks: options, timing, intervals, tables and pages."""

from pathlib import Path


def test_cases_take_turns() -> None:
    from harness import median_seconds, seconds

    order: list[str] = []
    cases = {name: lambda name=name: order.append(name) for name in "ab"}
    assert {name: len(each) for name, each in seconds(cases, 3).items()} == {"a": 3, "b": 3}
    assert order == ["a", "b"] * 3
    ticks = iter([0, 1, 1, 3, 3, 10])
    assert seconds({"a": int}, 3, lambda: float(next(ticks))) == {"a": [1, 2, 7]}
    assert median_seconds({"a": int}, 5)["a"] < 1


def test_interval_over_seeds_uses_student_t() -> None:
    from harness import interval, mean_over_seeds

    assert interval({"value": 0.5, "low": 0.4, "high": 0.61}, 2, "+") == "+0.50 (+0.40 to +0.61)"
    assert mean_over_seeds([0.8, 0.9, None, 1.0]) == "0.900 (0.652 to 1.148)"
    assert mean_over_seeds([0.8]) == "0.800 (one seed)"
    assert mean_over_seeds([None]) == "none"


def test_rows_are_an_aligned_table() -> None:
    from harness import markdown

    assert markdown([{"set": "a", "MCC": "0.5"}, {"set": "long", "MCC": "1"}]) == (
        "| set  | MCC |\n| ---- | --: |\n| a    | 0.5 |\n| long |   1 |"
    )
    assert markdown([]) == ""


def test_page_has_text_machine_and_tables(tmp_path: Path) -> None:
    from harness import Page, Table, option, run

    page = Page(tmp_path / "page.md", "Speed of x", "How it is measured.")

    def measure(chosen):
        yield Table("Rows", [{"n": str(n)} for n in range(chosen.rows)])
        yield "A sentence."

    rows = option("--rows", type=int, default=2)
    for words in ([], ["--write-docs"]):
        assert not page.path.exists()
        run("Measure x.", measure, rows, arguments=words, threads=None, page=page)
    title, machine, text, *rest = page.path.read_text().split("\n\n")
    assert (title, text) == ("# Speed of x", "How it is measured.")
    assert ", commit " in machine
    assert "torch" in machine
    assert rest == ["## Rows", "| n |\n| - |\n| 0 |\n| 1 |", "A sentence.\n"]
