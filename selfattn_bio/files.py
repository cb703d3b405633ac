"""Write files and folders atomically: complete, or not there.

Results are written under a temporary name on the same file system, flushed to disk with fsync, and
renamed. Leftovers of killed processes are removed later.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from selfattn_bio.errors import OutputError, SelfAttnBioError
from selfattn_bio.log import LOG

BED_FILES, GFF_FILES = (
    tuple(kind + zipped for kind in kinds for zipped in ("", ".gz", ".bgz"))
    for kinds in ((".bed", ".narrowpeak", ".broadpeak"), (".gff3", ".gff", ".gtf"))
)
H5AD = ".h5ad"
# Lower-case endings, shared by the run file's checks and the reader
INTERVAL_FILES = (*BED_FILES, *GFF_FILES, H5AD)
# Snakemake puts this file into each folder that a rule declares
OF_SNAKEMAKE = ".snakemake_timestamp"


@contextmanager
def naming(path: str | Path, temporary: Path | None = None) -> Iterator[None]:
    """Add the output path to errors of the system that occur inside the block.

    Errors of a full or failing disk have no file name, and others name the temporary file.
    """
    try:
        yield
    except OSError as error:
        if error.errno and not error.filename:  # an error without a number is only a message
            error.filename = str(path)
        elif error.filename and temporary and Path(error.filename).is_relative_to(temporary):
            error.filename = str(Path(path) / Path(error.filename).relative_to(temporary))
        raise


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write to, which replaces `path` on success.

    On an error the temporary file is removed and `path` is unchanged.

    Raises
    ------
    OutputError
        As in `check_output_file`.
    """
    path = check_output_file(path)
    _make_parent(path)
    clear_stale(path)
    temporary = _temporary_path(path, "tmp")
    try:
        with naming(path, temporary):
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file as `whole_file` does."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def dump_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write values to a JSON file, for example in the folder of `whole_folder`."""
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder to fill, which replaces `path` on success.

    On an error the temporary folder is removed and `path` is unchanged.
    """
    path = Path(path)
    _make_parent(path)
    clear_stale(path)
    temporary, old = _temporary_path(path, "tmp"), _temporary_path(path, "old")
    try:
        with naming(path, temporary):
            temporary.mkdir()
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    with file.open("rb") as handle:
                        os.fsync(handle.fileno())
            _replace_folder(temporary, path, old)
    finally:
        if old.exists() and not path.exists():  # an error between the two renames
            os.replace(old, path)
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(temporary: Path, path: Path, old: Path) -> None:
    """Rename a temporary folder to `path`, even if other processes do the same.

    Between the two renames `old` is the only version. It is deleted under another name, so that a
    folder named `old` is always complete.
    """
    gone = _temporary_path(path, "gone")
    while True:
        with suppress(FileNotFoundError):  # new, or just moved by another process
            os.replace(path, old)
        try:
            os.replace(temporary, path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            with suppress(FileNotFoundError):  # another process was faster; replace its folder
                os.replace(old, gone)
            shutil.rmtree(gone, ignore_errors=True)
        else:
            break
    if old.exists():
        os.replace(old, temporary)


def check_replaceable(path: str | Path, what: str, parts: Collection[str], mark: str) -> None:
    """Raise if an output folder cannot be written or contains other files that would be lost.

    Call this before the work whose result will replace the folder.

    Parameters
    ----------
    path
        The folder that will be replaced.
    what
        Kind of folder, for messages: `model`.
    parts
        Names of all files and folders that such a folder may contain.
    mark
        The name that every such folder contains.

    Raises
    ------
    OutputError
        If `path` has no name, is a file or below one, or is a folder that is neither empty nor of
        this kind.
    OSError
        If no folder can be created next to it.
    """
    path = Path(path)
    if path.name in ("", ".."):
        message = f"the {what} cannot be written to {str(path)!r}"
        raise OutputError(message, hint="Choose another output")
    _make_parent(path)
    clear_stale(path)
    if path.exists() and not path.is_dir():
        OutputError.fail(f"the {what} cannot replace a file", path, "Choose another output")
    inside = {part.name for part in path.glob("*")} - {OF_SNAKEMAKE}
    foreign = sorted(inside - set(parts))
    if inside and (foreign or mark not in inside):
        reason = (
            f"it contains {foreign[0]!r}, which is not part of the {what}"
            if foreign
            else f"it lacks {mark!r}, which every {what} folder contains"
        )
        message = f"the folder is not replaced: {reason}"
        raise OutputError(message, place=str(path), hint="Choose another output, or remove it")
    probe = _temporary_path(path, "tmp")
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        error.filename = str(path)
        raise


def check_ending(path: str | Path, *endings: str) -> Path:
    """Return the path of an output file, which must have one of these endings.

    Raises
    ------
    OutputError
        If it has another one.
    """
    if Path(path).suffix not in endings:
        *others, last = endings
        named = f"{', '.join(others)} or {last}" if others else last
        raise OutputError(f"the output file must end with {named}", place=str(path))
    return Path(path)


def check_output_file(output: str | Path, *inputs: object) -> Path:
    """Return the path of an output file, which may replace a regular file that is not an input.

    Inputs are those given and those of the command (`protecting`). Others than existing paths are
    ignored.

    Raises
    ------
    OutputError
        If the output is a folder, a device, or the same file as an input.
    """
    output, hint = Path(output), "Choose another output"
    if output.is_dir():
        raise OutputError("the output is an existing folder", place=str(output), hint=hint)
    if output.exists() and not output.is_file():
        raise OutputError("the output is not a regular file", place=str(output), hint=hint)
    for source in (*inputs, *_PROTECTED):
        if (
            isinstance(source, str | Path)
            and os.path.exists(output)
            and os.path.exists(source)
            and os.path.samefile(output, source)
        ):
            OutputError.fail("the output would replace this input", source, hint)
    return output


_PROTECTED: list[object] = []


@contextmanager
def protecting(inputs: Iterable[object]) -> Iterator[None]:
    """Let no output replace one of these inputs inside the block; see `check_output_file`."""
    _PROTECTED[:] = inputs
    try:
        yield
    finally:
        _PROTECTED.clear()


def listed(files: str | Path | Sequence[str | Path]) -> Sequence[str | Path]:
    """Return a list of files; one path is a list of one."""
    return [files] if isinstance(files, str | Path) else files


def check_creatable(path: str | Path) -> None:
    """Raise if a file or folder cannot be created; unlike `check_replaceable`, create nothing.

    Raises
    ------
    OutputError
        If a file has the name of a parent folder.
    PermissionError
        If the closest existing parent folder cannot be written.
    """
    path = Path(path)
    above = next(above for above in path.parents if above.exists())
    if not above.is_dir():
        raise _below_a_file(path)
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def _make_parent(path: Path) -> None:
    """Create the parent folder of `path`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise _below_a_file(path) from error


def _below_a_file(path: Path) -> OutputError:
    file = next((above for above in path.parents if above.exists()), path.parent)
    message = f"cannot create {path}, because this is a file"
    return OutputError(message, place=str(file), hint="Choose another output")


def clear_stale(path: Path) -> None:
    """Remove temporary files of killed processes of this machine next to `path`.

    If a process was killed while it replaced `path`, the old version is restored.
    """
    ours = re.compile(
        rf"\.{re.escape(path.name)}\.{re.escape(socket.gethostname())}-(\d{{1,9}})\.(tmp|old|gone)"
    )
    for left in path.parent.iterdir():
        found = ours.fullmatch(left.name)
        if found is None:
            continue
        import psutil  # imported here because it takes a moment, and leftovers are rare

        # A file with our process id was left by an earlier process with the same id.
        if int(found[1]) != os.getpid() and psutil.pid_exists(int(found[1])):
            continue
        if found[2] == "old" and not path.exists():
            with suppress(FileNotFoundError):  # another process was faster
                os.replace(left, path)
                LOG.warning(
                    f"{path}: restored the previous version; process {found[1]} was killed while "
                    "replacing it"
                )
        elif left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def regular_text(path: str | Path, encoding: str = "utf-8") -> str:
    """Read the text of a file.

    Raises
    ------
    OSError
        If it cannot be read, or is a device or named pipe, which may never end.
    UnicodeDecodeError
        If it is not text in this encoding.
    """
    return regular(path).read_text(encoding=encoding)


def regular(path: str | Path) -> Path:
    """Return the path; raise OSError for a device such as /dev/zero, or a named pipe."""
    if (path := Path(path)).exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "a device or named pipe, not a file", str(path))
    return path


def read_json(path: str | Path, error: type[SelfAttnBioError], hint: str) -> dict[str, Any]:
    """Read a JSON object from a file.

    Parameters
    ----------
    path
        The file.
    error
        Exception to raise, with the path and `hint`, if the file is missing, cannot be read or
        holds no JSON object.
    hint
        Advice for the user, such as the command that writes the file.
    """
    found = read_with(lambda path: json.loads(regular_text(path)), path, error, hint)
    if not isinstance(found, dict):
        raise error("not a JSON object", place=str(path), hint=hint)
    return found


def read_with(
    reader: Callable[[Any], Any], path: str | Path, error: type[SelfAttnBioError], hint: str
) -> Any:
    """Return `reader(path)`; its errors become that of `read_json`."""
    try:
        return reader(path)
    except FileNotFoundError:
        raise error("file not found", place=str(path), hint=hint) from None
    # raised by pandas, pyarrow, json and numpy for bad content
    except (OSError, ValueError, KeyError, RecursionError, BadZipFile) as reason:
        raise error(f"cannot read this file: {reason}", place=str(path), hint=hint) from reason


def sha256_of(path: str | Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes; OSError for a device or named pipe."""
    with naming(path), regular(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _temporary_path(path: Path, suffix: str) -> Path:
    """Return a hidden name for this process on the same file system."""
    return path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.{suffix}")
