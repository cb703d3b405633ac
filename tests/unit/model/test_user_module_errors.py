"""Test that errors in the code of a user's network name its line."""

import io
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from selfattn_bio.config import ModuleModel, RunFile, read_run_file
from selfattn_bio.errors import ArgumentError, RunFileError, UserModuleError
from selfattn_bio.model.user_module import VARIABLE, allow_module, build_module, errors_of_training
from selfattn_bio.training.memory import is_out_of_memory

DATA = {"positives": "p.fa", "negatives": "n.fa"}
GOOD = """
from torch import nn


class Network(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.embedding, self.out = nn.Embedding(size, 4), nn.Linear(4, 1)

    def embed(self, tokens):
        return self.embedding(tokens)

    def classify(self, embeddings, mask):
        return self.out(embeddings.mean(1))

    def forward(self, tokens):
        return self.classify(self.embed(tokens), tokens != 0)


def build(vocabulary_size, num_outputs):
    return Network(vocabulary_size)
"""


@pytest.fixture(autouse=True)
def folder(here, monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield here
    for name in set(sys.modules) - before:
        if name.startswith("broken"):
            del sys.modules[name]


def built(text, name="broken", **files):
    for each, content in {name: text, **files}.items():
        path = Path(f"{each.replace('.', '/')}.py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    allow_module(f"{name}:build")
    return build_module(ModuleModel(module=f"{name}:build"), 9, 1)


def line_of(text, part):
    return text[: text.index(part)].count("\n") + 1


@pytest.mark.parametrize(
    ("text", "part", "step", "cause"),
    [
        (GOOD + "def f(:\n", "def f(:", "importing 'broken'", SyntaxError),
        (f"import numpyx\n{GOOD}", "import numpyx", "importing 'broken'", ModuleNotFoundError),
        (GOOD + "1 / 0\n", "1 / 0", "importing 'broken'", ZeroDivisionError),
        (GOOD.replace(" Network(voc", " Net(voc"), " Net(", "'broken:build'", NameError),
    ],
)
def test_build_error_names_the_line(folder, text, part, step, cause):
    with pytest.raises(UserModuleError) as caught:
        built(text)
    place = f"{folder / 'broken.py'}:{line_of(text, part)}"
    assert str(caught.value).startswith(f"{place}: {step} failed with {cause.__name__}: ")
    assert isinstance(caught.value.__cause__, cause)
    assert "\n" not in str(caught.value)


def test_forward_error_names_the_line(folder):
    text = GOOD.replace("embeddings.mean(1)", "embeddings @ embeddings")
    network, tokens = built(text), torch.full((2, 3), 4)
    for call, name, at in (
        (lambda: network(tokens), "forward", " @ "),
        (lambda: network.classify(network.embed(tokens), tokens != 0), "classify", " @ "),
        (lambda: network.embed(tokens + 9), "embed", "self.embedding(tokens)"),
    ):
        with pytest.raises(UserModuleError) as caught:
            call()
        place = f"{folder / 'broken.py'}:{line_of(text, at)}: "
        assert str(caught.value).startswith(f"{place}{name} of 'broken:build' failed with ")
        assert isinstance(caught.value.__cause__, RuntimeError | IndexError)


def test_helper_file_is_named(folder):
    with pytest.raises(UserModuleError, match=r"broken_helper\.py:2: importing 'broken' failed"):
        built(f"import broken_helper\n{GOOD}", broken_helper="\nraise ValueError\n")
    with pytest.raises(UserModuleError, match=r"broken_helper\.py:1: .*SyntaxError: invalid "):
        built(f"import broken_helper\n{GOOD}", broken_helper="a b\n")


def test_package_that_cannot_be_imported_is_named(folder):
    message = (
        r"broken_package/__init__\.py:1: the package of 'broken_package\.net' failed with .*Inst"
    )
    with pytest.raises(UserModuleError, match=message):
        built(GOOD, "broken_package.net", **{"broken_package.__init__": "import numpyx\n"})
    allow_module("broken_none.net:build")
    with pytest.raises(RunFileError, match=r"there is no module 'broken_none\.net'"):
        build_module(ModuleModel(module="broken_none.net:build"), 9, 1)


def test_errors_of_memory_and_of_the_package_keep_their_type():
    network, tokens = built(GOOD), torch.full((2, 3), 4)
    for error in (MemoryError(), torch.OutOfMemoryError("CUDA"), ArgumentError("width is 0")):
        network.members[0].forward = Mock(side_effect=error)
        with pytest.raises(type(error)) as caught:
            network(tokens)
        assert caught.value is error


def test_allocator_error_is_still_out_of_memory():
    network, tokens = built(GOOD), torch.full((2, 3), 4)
    network.members[0].forward = lambda _: torch.empty(1 << 55)
    with pytest.raises(RuntimeError) as caught:
        network(tokens)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("outputs.detach()", "a tensor without a gradient; its weights cannot be trained"),
        ("outputs.int()", "a tensor of torch.int32, .*; expected a dense tensor of floating point"),
        ("outputs.to_sparse()", "a tensor of .*torch.sparse_coo, .*; expected a dense tensor"),
        ("outputs.to('meta')", "a tensor of .*, meta; expected a dense tensor"),
        ("outputs[0]", r"\(1,\); expected a tensor of shape \(2, 1\)"),
        ("None", r"NoneType; expected a tensor of shape \(2, 1\)"),
    ],
)
def test_unusual_outputs_are_refused(result, message):
    text = GOOD.replace("return self.classify(", "outputs = self.classify(")
    network = built(text.replace("tokens != 0)\n", f"tokens != 0)\n        return {result}\n"))
    with pytest.raises(RunFileError, match=f"broken.py: .*'broken:build' returned {message}"):
        network(torch.full((2, 3), 4))


@pytest.mark.parametrize("error", ["SystemExit", "StopIteration", "GeneratorExit", "BaseException"])
def test_errors_that_would_end_the_process_name_the_module(folder, error):
    for text, step in (
        (f"{GOOD}raise {error}('no')\n", "importing 'broken'"),
        (GOOD.replace("return Network(", f"raise {error}('no')\n    ("), "'broken:build'"),
    ):
        with pytest.raises(
            UserModuleError, match=rf"broken.py:\d+: {step} failed with {error}: no"
        ):
            built(text)
        sys.modules.pop("broken", None)


@pytest.mark.parametrize(
    "change",
    [
        "import os; os.chdir('/')",
        "import torch; torch.set_default_dtype(torch.float64)",
        "import torch; torch.set_default_device('meta')",
        "import sys; sys.stdout.close()",
    ],
)
def test_changes_of_the_process_are_refused(folder, monkeypatch, change):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    message = "broken.py: {} changed the current folder, a default of torch, or sys.stdout. Leave"
    with pytest.raises(UserModuleError, match=message.format("importing 'broken'")):
        built(f"{change}\n{GOOD}")
    assert (Path.cwd(), torch.get_default_dtype()) == (folder, torch.float32)
    assert torch.get_default_device() == torch.device("cpu")
    assert not torch.overrides._get_current_function_mode_stack()  # no call of torch is slower
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    del sys.modules["broken"]
    network = built(
        GOOD.replace("        return self.cl", f"        {change}\n        return self.cl")
    )
    with pytest.raises(UserModuleError, match=message.format("forward of 'broken:build'")):
        network(torch.full((2, 3), 4))


def test_a_coroutine_is_no_function():
    with pytest.raises(RunFileError, match="'broken' has no plain function 'build'"):
        built(GOOD.replace("def build", "async def build"))
    for method in ("embed", "classify", "forward"):
        with pytest.raises(RunFileError, match="a module with an async method; use plain"):
            built(GOOD.replace(f"def {method}", f"async def {method}"), name=f"async_{method}")


@pytest.mark.parametrize("error", [ValueError("no"), OSError("no")])
def test_errors_of_training_raised_elsewhere_keep_their_message(error):
    built(GOOD)
    run = RunFile(data=DATA, model={"kind": "module", "module": "broken:build"})
    with pytest.raises(type(error), match=r"^no$") as caught, errors_of_training(run):
        raise error
    assert caught.value is error
    with (
        pytest.raises(UserModuleError, match=r"broken\.py: training of 'broken:build' failed with"),
        errors_of_training(run),
    ):
        torch.ones(1).backward()


@pytest.mark.parametrize("problem", ["", "\n    raise ValueError('no')"])
def test_changes_by_a_gradient_hook_are_refused(folder, problem):
    changes = "torch.set_default_dtype(torch.float64); os.chdir('/')"
    text = f"import os\nimport torch\n{GOOD}\n\ndef hook(_):\n    {changes}{problem}\n"
    hooked = "outputs.register_hook(hook)\n        return outputs"
    text = text.replace("return self.classify(", "outputs = self.classify(")
    network = built(text.replace("tokens != 0)\n", f"tokens != 0)\n        {hooked}\n"))
    run = RunFile(data=DATA, model={"kind": "module", "module": "broken:build"})
    message = "failed with ValueError: no" if problem else "changed the current folder, a default"
    with (
        pytest.raises(UserModuleError, match=f"training of 'broken:build' {message}"),
        errors_of_training(run),
    ):
        network(torch.full((2, 3), 4)).sum().backward()
    assert (Path.cwd(), torch.get_default_dtype()) == (folder, torch.float32)


def test_lazy_weights_are_refused():
    with pytest.raises(RunFileError, match="'broken:build' returned a module with lazy weights"):
        built(GOOD.replace("nn.Linear(4, 1)", "nn.LazyLinear(1)"))


def test_module_whose_weights_cannot_be_listed_is_named(folder):
    text = GOOD + "\n\ndef fail(self, *_, **__):\n    raise KeyError('no')\n\n\n"
    for name in ("parameters", "state_dict"):
        with pytest.raises(
            UserModuleError, match=r"broken.py:\d+: 'broken:build' failed with KeyE"
        ):
            built(f"{text}Network.{name} = fail\n")
        sys.modules.pop("broken", None)


@pytest.mark.parametrize("value", ["nan", "[1, {a = -inf}]"])
def test_settings_that_are_not_finite_are_refused(here, value):
    model = f"kind = 'module', module = 'm:build', settings.x = {value}"
    text = f"data = {{ positives = 'a', negatives = 'b' }}\nmodel = {{ {model} }}"
    (here / "r.toml").write_text(text)
    with pytest.raises(
        RunFileError, match=r"r.toml:2: \[model\] settings have a number that is not"
    ):
        read_run_file(here / "r.toml")
