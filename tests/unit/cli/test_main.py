"""Test the frame around the commands: one-line errors, exit codes, threads, and light imports."""

import errno
import gc
import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from selfattn_bio.cli import main as cli
from selfattn_bio.cli.options import HelpFormatter, option
from selfattn_bio.errors import SequenceFileError

CORES = len(os.sched_getaffinity(0))


def python(*arguments):
    """Run Python, which must succeed, and return what it prints."""
    words = [sys.executable, *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_module_prints_versions():
    number = r"\d+\.\d+\S*"
    line = rf"{number} \(PyTorch {number}, Python {number}\)\n"
    assert re.fullmatch(line, python("-m", "selfattn_bio", "--version"))


def test_completion_is_valid_bash(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--print-completion", "bash"])
    assert not ended.value.code
    script = tmp_path / "completion"
    script.write_text(capsys.readouterr().out)
    subprocess.run(["bash", "-n", script], check=True)
    assert "--pretraining" in script.read_text()


def test_help_lists_each_command_once_below_a_heading():
    out = cli.build_parser().format_help()
    listed = re.findall(r"^    ([a-z]+)  ", out, re.MULTILINE)
    assert listed == list(cli.COMMANDS)
    assert re.findall(r"^  ([a-z]+):$", out, re.MULTILINE) == list(cli.GROUPS)


def test_verbose_prints_options_and_traceback(fails_with, capsys):
    error = SequenceFileError("invalid character 'J'", place="a.fa:3")
    fails_with(error, option("--rc-mean", default=3))
    assert cli.main(["--verbose", "try"]) == 1
    out, err = capsys.readouterr()
    assert "PyTorch" in out
    assert out.rstrip().endswith("; rc_mean=3")
    assert "Traceback" in err
    assert err.splitlines()[-1] == "selfattn-bio try: error: a.fa:3: invalid character 'J'"


def test_version_without_torch(capsys, monkeypatch):
    version = importlib.metadata.version

    def without_torch(name):
        if name == "torch":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_torch)
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert "(PyTorch not installed, Python " in capsys.readouterr().out


def of_system(code):
    return OSError(code, os.strerror(code), "letters.bin")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (SequenceFileError("no 'J'", place="a.fa:3", hint="Why?"), r"a.fa:3: no 'J'\. Why\?"),
        (RuntimeError("cannot cache function '_fast': n"), "numba .* Set NUMBA_CACHE_DIR.*"),
        (of_system(errno.ENOSPC), "letters.bin: cannot be written: No space .*. Free some space.*"),
        (of_system(errno.EACCES), "letters.bin: cannot be written: .* or change its permissions"),
        (of_system(errno.EROFS), "letters.bin: cannot be written: .* or change its permissions"),
        (of_system(errno.EFBIG), r"letters.bin: cannot be written: File .* \(ulimit -f\), or .*"),
        (of_system(errno.EMFILE), r"letters.bin: cannot be accessed: Too .* \(ulimit -n\)"),
        (of_system(errno.ENOMEM), r"out of memory \(.*: 'letters.bin'\)\. .*"),
        (MemoryError(), r"out of memory\. Close .*"),
        (ImportError("a.so: failed to map segment from shared object"), r"out of memory \(a.*"),
        (
            ModuleNotFoundError("No module named 'igraph'", name="igraph"),
            r"the Python package igraph is not installed\. Install it with pip install igraph",
        ),
        (
            ModuleNotFoundError("No module named 'Bio.motifs'", name="Bio.motifs"),
            r"the Python package Bio is not installed\. Install it with pip install biopython",
        ),
        (of_system(errno.EIO), "letters.bin: cannot be accessed: Input/output error"),
        (of_system(errno.ESTALE), "letters.bin: cannot be accessed: Stale file handle"),
    ],
)
def test_known_error_is_one_line(fails_with, capsys, error, line):
    fails_with(error)
    assert cli.main(["try"]) == 1
    assert re.fullmatch(f"selfattn-bio try: error: {line}\n", capsys.readouterr().err)


def test_internal_error_keeps_its_traceback(fails_with):
    of_system = OSError(errno.EIO, "I/O error"), OSError(errno.EBADF, "bad", "a")
    for error in (
        *of_system,
        RuntimeError("shape"),
        ValueError("bad"),
        AssertionError("ours"),
        ImportError("b"),
    ):
        fails_with(error)
        with pytest.raises(type(error)):
            cli.main(["try"])


@pytest.mark.parametrize(("words", "line"), [((), "interrupted"), (("stopped",), "stopped")])
def test_ctrl_c_exits_with_130(fails_with, capsys, words, line):
    fails_with(KeyboardInterrupt(*words))
    assert cli.main(["try"]) == 130
    assert capsys.readouterr().err == f"selfattn-bio try: {line}\n"


def test_threads_are_limited_to_cores_and_sleep(command, monkeypatch):
    command()
    monkeypatch.setenv("OMP_NUM_THREADS", "999")
    monkeypatch.setenv("MKL_NUM_THREADS", "1")
    for name in ("OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # removed again at the end
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    cli.main(["try"])
    assert os.environ["OMP_NUM_THREADS"] == os.environ["NUMBA_NUM_THREADS"] == str(CORES)
    assert os.environ["MKL_NUM_THREADS"] == "1"
    assert "OPENBLAS_NUM_THREADS" not in os.environ
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")  # the user's choice
    cli.main(["try"])
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_garbage_is_collected_less_in_a_process_of_its_own(command, monkeypatch):
    command()
    changes = []
    monkeypatch.setattr(sys, "argv", ["selfattn-bio", "try"])
    monkeypatch.setattr(cli.atexit, "register", changes.append)
    monkeypatch.setattr(cli.gc, "set_threshold", lambda *each: changes.append(each))
    assert cli.main(["try"]) == 0
    assert changes == []
    assert cli.main() == 0
    assert changes == [(*gc.get_threshold()[:2], 1000), gc.freeze]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_and_example_of_each_command(name, capsys):
    text = cli.COMMANDS[name].help
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert text.splitlines()[0] in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80
    (example,) = re.findall(r"^example: selfattn-bio ((?:.|\n  )*)", text, re.MULTILINE)
    assert cli.build_parser().parse_args(example.replace("\\\n", " ").split()).command == name


def test_help_after_a_target_is_that_of_run(capsys):
    assert cli.main(["run", "train_mine", "--cores", "1", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: selfattn-bio run [-h]")


def test_help_fills_paragraphs_and_keeps_example():
    formatter = HelpFormatter("selfattn-bio", width=30)
    kept = "\n\n- a list\n\nexample: selfattn-bio x --output y.tsv"
    formatter.add_text(f"One two three four five\nsix seven.{kept}")
    assert formatter.format_help() == f"One two three four five six\nseven.{kept}\n"


def parsers():
    (commands,) = (each for each in cli.build_parser()._actions if each.dest == "command")
    return commands.choices


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("explain --target x y mine", ("mine", ["x", "y"])),
        ("explain mine --target x y", ("mine", ["x", "y"])),
        ("explain --json mine --target x y", ("mine", ["x", "y"])),
        ("audit --pretraining a b mine", ("mine", ["a", "b"])),
        ("init --positives a b --negatives c d mine", ("mine", ["c", "d"])),
    ],
)
def test_last_value_of_an_option_may_be_the_task(words, found):
    parsed = vars(cli.build_parser().parse_args(words.split()))
    values = [parsed.get(name) for name in ("target", "pretraining", "negatives")]
    assert (parsed.get("study") or parsed["name"], next(filter(None, values))) == found


@pytest.mark.parametrize(
    ("words", "missing"), [("explain --target x", "TASK"), ("score --model a b", "--output")]
)
def test_missing_arguments_are_named(words, missing, capsys):
    with pytest.raises(SystemExit):
        cli.main(words.split())
    assert f"required: {missing}" in capsys.readouterr().err


def test_values_of_options_are_named():
    unnamed = [
        (name, action.dest)
        for name, parser in parsers().items()
        for action in parser._actions
        if action.option_strings and action.nargs != 0 and not (action.metavar or action.choices)
    ]
    assert unnamed == []


def test_allow_module_is_an_option_where_networks_run():
    found = {name for name, each in parsers().items() if "--allow-module" in each.format_help()}
    of_task = {"train", "evaluate", "explain", "motifs", "interactions", "run"}
    assert found == of_task | {"score", "scan", "variants", "export"}


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        (
            "from selfattn_bio.cli.main import build_parser; build_parser()",
            "torch pandas sklearn scipy matplotlib numba pyarrow Bio",
        ),
        (
            "import selfattn_bio; selfattn_bio.load('promoter')",
            "sklearn scipy.sparse scipy.special scipy.stats matplotlib numba Bio.motifs igraph "
            "sympy torch._dynamo",
        ),
        ("import selfattn_bio.study.explain", "sklearn scipy.stats numba igraph lightgbm"),
    ],
)
def test_start_imports_nothing_heavy(code, heavy):
    code = f"import sys; {code}; print(sorted({set(heavy.split())} & sys.modules.keys()))"
    assert python("-c", code).strip() == "[]"


def test_closed_pipe_gives_no_traceback():
    code = (
        "import sys; from selfattn_bio.cli import main as cli, options;"
        "run = lambda a: print(*['line'] * 99_999, sep='\\n');"
        "cli.COMMANDS = {'try': options.Command('try', 'T', (), run)}; sys.exit(cli.main(['try']))"
    )
    pipe = f'"{sys.executable}" -c "{code}" | head -n 1'
    result = subprocess.run(pipe, shell=True, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("line\n", "")


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", ">&- <&- 2>&-"])
def test_closed_streams_are_ignored(here, closed):
    line = f'"{sys.executable}" -m selfattn_bio schema --output a.json {closed}'
    subprocess.run(line, shell=True, check=True)
    assert json.loads((here / "a.json").read_text())["title"] == "RunFile"


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_names_are_utf_8_in_every_locale(here, locale):
    environment = os.environ | {"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    words = [sys.executable, "-m", "selfattn_bio", "schema", "--output"]
    subprocess.run([*words, "é.json"], env=environment, check=True)
    done = subprocess.run([*words, b"\xe9.json"], env=environment, capture_output=True, check=False)
    assert os.listdir(here) == ["é.json"]
    line = "selfattn-bio: error: '\\udce9.json' is not UTF-8; rename it\n"
    assert (done.returncode, done.stderr.decode()) == (2, line)


@pytest.mark.parametrize("word", ["a\nb.tsv", "a\x1b[31m"])
def test_names_with_control_characters_are_refused(here, capsys, word):
    assert cli.main(["schema", "--output", word]) == 2
    line = f"selfattn-bio: error: {word!r} has a line break or control character; rename it\n"
    assert capsys.readouterr().err == line
    files = f"positives = {json.dumps(word)}\nnegatives = 'n.bed'\ngenome = 'g.fa'\n"
    Path("r.toml").write_text(f"[data]\n{files}")
    assert cli.main(["ingest", "r.toml"]) == 1
    assert repr(word)[1:-1] in capsys.readouterr().err.splitlines()[-1]


def test_interruption_at_the_start_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(cli, "build_parser", Mock(side_effect=KeyboardInterrupt))
    assert cli.main(["schema"]) == 130
    assert capsys.readouterr().err == "selfattn-bio: interrupted\n"


def test_interruption_of_imports_is_silent(here):
    """A module that is imported at the start waits for the signal."""
    Path("argparse.py").write_text("import os\nos.kill(os.getpid(), 2)\nos.write(1, b'no')\n")
    # a shell that runs the tests in the background lets them ignore the signal
    words = ["env", "--default-signal=INT", sys.executable, "-m", "selfattn_bio", "schema"]
    paths = os.pathsep.join([str(here), *sys.path])
    done = subprocess.run(
        words, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_closed_pipe_of_completion_gives_no_traceback():
    pipe = f'"{sys.executable}" -m selfattn_bio --print-completion bash | true'
    assert subprocess.run(pipe, shell=True, capture_output=True, check=True).stderr == b""
