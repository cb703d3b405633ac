"""Build networks from a user's own code, which runs only if the user allows it by name.

A run file with `[model] kind = "module"` names a function, such as `module = "my_model:build"`.
Neither a run file nor a model folder can allow its code: `allow_module` and --allow-module do. It
is called with `vocabulary_size`, `num_outputs` and [model] settings, and returns an `nn.Module`.
The module maps tokens (B, N) int64, padded with 0, to outputs (B, C). A parameter of `forward` with
the name `mask` receives (B, N) bool, True = token.

Methods that follow gradients to the embeddings need two more methods of the module: `embed(tokens)`
returns (B, N, D), which must not depend on positions, and `classify(embeddings, mask)` returns the
outputs.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from selfattn_bio.config import ModuleModel, RunFile, place_of
from selfattn_bio.errors import ModelFolderError, RunFileError, SelfAttnBioError, UserModuleError
from selfattn_bio.files import sha256_of
from selfattn_bio.layout import PROVENANCE
from selfattn_bio.model.classifier import Network

# The names of allowed modules, separated by spaces. Processes started from here inherit them, as
# do the steps of the workflow.
VARIABLE = "SELFATTN_BIO_ALLOW_MODULE"
GRADIENTS = Path(torch.autograd.__file__).parent


def allow_module(name: str) -> None:
    """Allow the code of a module, such as "my_model:build", to run in this process.

    Models and run files that name it can then be used. The current directory is searched for its
    file as well.
    """
    os.environ[VARIABLE] = " ".join(dict.fromkeys([*_allowed(), name]))


def check_run(task: RunFile, run: RunFile) -> None:
    """Refuse a run of a task whose module is not allowed; find its file as in `search_folder_of`.

    Raises
    ------
    RunFileError
        If the module is not allowed, and as in `search_folder_of`.
    """
    if isinstance(run.model, ModuleModel):
        check_allowed(run.model.module, _place_of(task, run.model.module), RunFileError)
        search_folder_of(task)


def search_folder_of(task: RunFile) -> None:
    """Search the folder of a run file for the allowed modules that it names.

    The folder of a model is not searched, because it may come from elsewhere.

    Raises
    ------
    RunFileError
        If the file of a module is next to the run file, but another module has the same name.
    """
    runs = [*task.trained.values(), *(job.run for job in task.jobs())]
    named = {run.model.module for run in runs if isinstance(run.model, ModuleModel)}
    names, folder = sorted(named & {*_allowed()}), task.path.parent if task.path else None
    if not names or not folder or (folder / PROVENANCE).exists():
        return
    for name in names:
        module = name.split(":")[0]
        own = (folder / f"{module.replace('.', '/')}.py").resolve()
        if not own.is_file():
            continue
        _search(folder)
        if (found := source_of(name)) != own:
            message = f"module {module!r} is {found}, not the file next to the run file"
            raise RunFileError(message, place=str(task.path), hint="Rename one of them")


def _place_of(task: RunFile, name: str) -> str:
    """Return `path:line` of the section that names a module; a job of the sweep may name it."""
    sections = {("model",): task.model} | {
        ("variants", variant, "model"): section.model for variant, section in task.variants.items()
    }
    keys = [
        keys
        for keys, section in sections.items()
        if isinstance(section, ModuleModel) and section.module == name
    ]
    place = (*keys[0], "module") if keys else ("sweep", "model", "module")
    return place_of(task.path, *place) if task.path and task.path.exists() else str(task.path or "")


def check_allowed(
    name: str, place: str = "", failure: type[SelfAttnBioError] = ModelFolderError
) -> None:
    """Raise `failure` unless the code of a module is allowed."""
    if name not in _allowed():
        raise failure(
            f"this model runs the code of {name!r}, which is not allowed",
            place=place,
            hint=f"If you trust it, use --allow-module {name}, or in Python "
            f"selfattn_bio.allow_module({name!r})",
        )


def source_of(name: str, place: str = "") -> Path:
    """Find the source file of an allowed module.

    Raises
    ------
    ModelFolderError
        If the module is not allowed.
    RunFileError
        If there is no such module, or it has no source file.
    UserModuleError
        If the package of the module cannot be imported.
    """
    check_allowed(name, place)
    module = name.split(":")[0]
    if Path(f"{module.replace('.', '/')}.py").is_file():
        _search(Path())
    importlib.invalidate_caches()
    spec = None
    # `find_spec` imports the package; it raises ValueError for __main__
    with _errors_of(f"the package of {module!r}"), suppress(ValueError):
        try:
            spec = importlib.util.find_spec(module)
        except ModuleNotFoundError as error:
            if not f"{module}.".startswith(f"{error.name}."):
                raise
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        hint = (
            f"Run in the folder of {module.replace('.', '/')}.py, put it next to the run "
            "file, or add its folder to PYTHONPATH"
        )
        raise RunFileError(f"there is no module {module!r}", place=place, hint=hint)
    return Path(spec.origin).resolve()


def module_sha256(name: str) -> str:
    """Return the SHA-256 of the source of an allowed module; errors are those of `source_of`."""
    return sha256_of(source_of(name))


def build_module(
    section: ModuleModel, vocabulary_size: int, num_outputs: int, place: str = ""
) -> ModuleNetwork:
    """Call the function that [model] names, and return its module as a network.

    Raises
    ------
    ModelFolderError
        If the module is not allowed.
    RunFileError
        If the function does not exist, cannot be called with these arguments, returns something
        other than an `nn.Module` with weights, or two names of its weights share a tensor.
    UserModuleError
        If importing the module or calling the function fails.
    """
    source = source_of(section.module, place)
    module_name, function_name = section.module.split(":")
    with _errors_of(f"importing {module_name!r}", source):
        function = getattr(importlib.import_module(module_name), function_name, None)
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise RunFileError(f"{module_name!r} has no plain function {function_name!r}", place=place)
    arguments = {"vocabulary_size": vocabulary_size, "num_outputs": num_outputs, **section.settings}
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        message = f"{section.module!r} cannot be called with {', '.join(arguments)}: {error}"
        RunFileError.fail(message, place, "Change its parameters, or [model] settings")
    with _errors_of(repr(section.module), source):
        module = function(**arguments)
        problem, hint = _problem_of(module)
        if problem:
            RunFileError.fail(f"{section.module!r} returned {problem}", place, hint)
        return ModuleNetwork(module, num_outputs, section.module, source)


class ModuleNetwork(Network):
    """Give a user's module the interface of `Network`, with the module as its only member.

    Parameters
    ----------
    module
        The module.
    num_outputs
        Number C of outputs per sequence.
    name, source
        Its name in the run file and its file, for errors.

    Raises
    ------
    UserModuleError
        If a method of the module fails.
    RunFileError
        If it returns something other than a tensor of the right shape.
    """

    has_rules = False

    def __init__(self, module: nn.Module, num_outputs: int, name: str, source: Path) -> None:
        nn.Module.__init__(self)
        self.members, self.num_outputs = nn.ModuleList([module]), num_outputs
        self.name, self.source = name, source
        self.num_weights = len([*module.parameters()])
        self.takes_mask = "mask" in inspect.signature(module.forward).parameters
        self.has_embeddings = all(hasattr(module, name) for name in ("embed", "classify"))

    def embed(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, N) int to embeddings (B, N, D), if the module offers them."""
        with self._errors_of("embed"):
            return self.members[0].embed(tokens)  # type: ignore[operator]

    def classify(self, embeddings: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Map embeddings (B, N, D) and mask (B, N) bool to outputs (B, C)."""
        with self._errors_of("classify"):
            outputs = self.members[0].classify(embeddings, mask)  # type: ignore[operator]
        return self._checked(outputs, len(embeddings))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, N) int, padded with 0, to outputs (B, 1, C)."""
        extra = {"mask": self.mask_of(tokens)} if self.takes_mask else {}
        with self._errors_of("forward"):
            outputs = self.members[0](tokens, **extra)
        return self._checked(outputs, tokens.shape[0])[:, None]

    def _errors_of(self, method: str) -> AbstractContextManager[None]:
        return _errors_of(f"{method} of {self.name!r}", self.source)

    def _checked(self, outputs: Tensor, rows: int) -> Tensor:
        wanted = (rows, self.num_outputs)
        if not isinstance(outputs, torch.Tensor) or outputs.shape != wanted:
            found = tuple(getattr(outputs, "shape", ())) or type(outputs).__name__
            raise self._wrong(f"{found}; expected a tensor of shape {wanted}")
        if not outputs.is_floating_point() or outputs.layout != torch.strided or outputs.is_meta:
            found = f"{outputs.dtype}, {outputs.layout}, {outputs.device}"
            raise self._wrong(f"a tensor of {found}; expected a dense tensor of floating point")
        weights = [*self.parameters()]
        if len(weights) != self.num_weights:
            raise self._wrong(f"outputs of {len(weights)} weights, but had {self.num_weights}")
        trains = self.training or any(each.requires_grad for each in weights)
        if torch.is_grad_enabled() and trains and not outputs.requires_grad:
            raise self._wrong("a tensor without a gradient; its weights cannot be trained")
        return outputs

    def _wrong(self, found: str) -> RunFileError:
        return RunFileError(f"the module of {self.name!r} returned {found}", place=str(self.source))


@contextmanager
def errors_of_training(run: RunFile) -> Iterator[None]:
    """Name the module of a run in errors of its code or its gradients during its training.

    Errors that are raised elsewhere keep their message.
    """
    if not isinstance(run.model, ModuleModel):
        yield
        return
    name = run.model.module
    with _errors_of(f"training of {name!r}", source_of(name), training=True):
        yield


@contextmanager
def _errors_of(name: str, source: Path | None = None, *, training: bool = False) -> Iterator[None]:
    """Name a part of the user's code, and the line, in errors that it raises.

    Errors of this package already have a message. Out of memory and Ctrl-C are no errors of the
    code. In a training, most code is not the user's, so only errors of `source`, of files next to
    it, and of gradients are named.
    """
    before = _state()
    try:
        yield
    except BaseException as error:  # also SystemExit
        own = SelfAttnBioError, MemoryError, torch.OutOfMemoryError, KeyboardInterrupt
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename).parent
        is_users = raised_in == GRADIENTS or _line_of(error, source) != str(source)
        if isinstance(error, own) or (training and not is_users):
            raise
        text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
        hint = "Correct the code, or [model] settings"
        if isinstance(error, ImportError):
            hint = "Install the missing package, or correct the import"
        raise UserModuleError(
            f"{name} failed with {type(error).__name__}{text and f': {text}'}",
            place=_line_of(error, source),
            hint=hint,
        ) from (None if isinstance(error, StopIteration) else error)  # contextlib would raise it
    finally:
        if changed := _state() != before:
            os.chdir(before[0])
            torch.set_default_dtype(before[1])
            # setting even the CPU would slow down each later call of torch
            torch.set_default_device(None if before[2].type == "cpu" else before[2])
    if changed:
        message = f"{name} changed the current folder, a default of torch, or sys.stdout"
        UserModuleError.fail(message, source or "", "Leave them as they are")


def _state() -> tuple[str, torch.dtype, torch.device, object, bool]:
    """Return what the code must not change, because later steps rely on it."""
    is_closed = getattr(sys.stdout, "closed", True)
    return os.getcwd(), torch.get_default_dtype(), torch.get_default_device(), sys.stdout, is_closed


def _line_of(error: BaseException, source: Path | None) -> str:
    """Return `path:line` of the last call in the folder of `source`, or in any if it is None."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    lines = [
        f"{frame.filename}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if not source or Path(frame.filename).resolve().parent == source.parent
    ]
    return lines[-1] if lines else str(source)


def _problem_of(module: object) -> tuple[str, str]:
    """Return why an object that a user's function returned cannot be trained, and a hint."""
    if not isinstance(module, nn.Module) or not any(True for _ in module.parameters()):
        return f"{type(module).__name__}; expected an nn.Module with parameters", ""
    methods = (getattr(module, name, None) for name in ("embed", "classify", "forward"))
    if any(map(inspect.iscoroutinefunction, methods)):
        return "a module with an async method; use plain ones", ""
    if any(map(is_lazy, module.parameters())):
        return "a module with lazy weights, which have no shape yet", "Give each layer its sizes"
    if shared := _shared_weights(module):
        named = f"a module whose weights {' and '.join(shared)} are the same tensor"
        hint = "Keep one of them, and use it in both places of forward"
        return f"{named}, which model.safetensors cannot store", hint
    return "", ""


def _shared_weights(module: nn.Module) -> list[str]:
    """Return the names of the first weights that share memory, such as tied embeddings."""
    names: dict[int, list[str]] = {}
    for name, weight in module.state_dict().items():
        if weight.numel():
            names.setdefault(weight.data_ptr(), []).append(name)
    return next((each for each in names.values() if len(each) > 1), [])


def _allowed() -> list[str]:
    return os.environ.get(VARIABLE, "").split()


def _search(folder: Path) -> None:
    """Search a folder for modules, after all others."""
    path = str(folder.resolve())
    if path not in sys.path:
        sys.path.append(path)
