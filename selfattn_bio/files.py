"""Files that are whole or not there: written under a temporary name beside their own, flushed to the disk, renamed.

Hides: temporary names, fsync, rename, what killed processes leave, which folder may be replaced. Everything that writes a result uses it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from selfattn_bio.errors import OutputError

BED_FILES, GFF_FILES = (
    tuple(kind + zipped for kind in kinds for zipped in ("", ".gz", ".bgz"))
    for kinds in ((".bed", ".narrowpeak", ".broadpeak"), (".gff3", ".gff", ".gtf"))
)
INTERVAL_FILES = BED_FILES + GFF_FILES  # how names end, in lower case: what a run file may say of them and what reads them both ask
OF_SNAKEMAKE = ".snakemake_timestamp"  # it puts one into each folder that a rule declares


@contextmanager
def naming(path: str | Path, temporary: Path | None = None) -> Iterator[None]:
    """Let an error of the system say which file it is about: that of a full or failing disk names none, some name the temporary one
    or what is in it."""
    try:
        yield
    except OSError as error:
        if not error.filename:
            error.filename = str(path)
        elif temporary and Path(error.filename).is_relative_to(temporary):
            error.filename = str(Path(path) / Path(error.filename).relative_to(temporary))
        raise


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to; on success it becomes `path`, on an error it is removed and `path` is as it was."""
    path = Path(path)
    _make_parent(path)
    clear_stale(path)
    temporary = _beside(path, "tmp")
    try:
        with naming(path, temporary):
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty temporary folder to fill; on success it takes the place of `path`, on an error it is removed."""
    path = Path(path)
    _make_parent(path)
    clear_stale(path)
    temporary, old = _beside(path, "tmp"), _beside(path, "old")
    try:
        with naming(path, temporary):
            temporary.mkdir()
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    with file.open("rb") as handle:
                        os.fsync(handle.fileno())
            if path.exists():
                os.replace(path, old)
            os.replace(temporary, path)
    finally:
        if old.exists():  # between the two renames it is the only one; removed under the other name, so that an old one is always whole
            os.replace(old, temporary if path.exists() else path)
        shutil.rmtree(temporary, ignore_errors=True)


def check_replaceable(path: str | Path, what: str, parts: Collection[str], mark: str) -> None:
    """Refuse an output folder that cannot be written or whose content would be lost, before the work for it begins.

    Parameters
    ----------
    path
        The folder, which will be replaced as a whole.
    what
        It is, in words: `model`.
    parts
        Names of all that such a folder may hold.
    mark
        The one of them that none is without.

    Raises
    ------
    OutputError
        If `path` has no name of its own, or is a file or stands below one, or is a folder that is neither empty nor one of these.
    OSError
        If no folder can be made beside it.
    """
    path = Path(path)
    if path.name in ("", ".."):
        raise OutputError(f"{what} must be a folder with a name, got {str(path)!r}", cure="Choose another --output")
    _make_parent(path)
    clear_stale(path)
    if path.exists() and not path.is_dir():
        raise OutputError(f"{what} must be a folder, got a file", place=str(path), cure="Choose another --output")
    inside = {part.name for part in path.glob("*")} - {OF_SNAKEMAKE}
    foreign = sorted(inside - set(parts))
    if inside and (foreign or mark not in inside):
        got = f"one that holds {foreign[0]!r}" if foreign else f"one without {mark!r}"
        message = f"{what} folder must be new, empty or a {what} folder, as it is replaced, got {got}"
        raise OutputError(message, place=str(path), cure="Choose another --output, or remove it")
    probe = _beside(path, "tmp")
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        error.filename = str(path)
        raise


def _make_parent(path: Path) -> None:
    """Make the folder in which `path` is to stand."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next((above for above in path.parents if above.exists()), path.parent)
        raise OutputError(f"what {path} stands in must be a folder, got a file", place=str(file), cure="Choose another --output") from error


def clear_stale(path: Path) -> None:
    """Remove what processes of this machine left beside `path` when they were killed; what one had moved away to replace it comes back."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.{re.escape(socket.gethostname())}-(\d+)\.(tmp|old)")
    for left in path.parent.iterdir():
        found = ours.fullmatch(left.name)
        # One of our own number was left by an earlier process.
        if found is None or (int(found[1]) != os.getpid() and Path(f"/proc/{found[1]}").exists()):
            continue
        if found[2] == "old" and not path.exists():
            with suppress(FileNotFoundError):  # another process of this run was faster
                os.replace(left, path)
                print(f"{path}: is as it was again; process {found[1]} was killed while it replaced it", flush=True)
        elif left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def sha256_of(path: str | Path) -> str:
    """The hexadecimal SHA-256 of a file's bytes."""
    with naming(path), Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _beside(path: Path, suffix: str) -> Path:
    """A hidden name of this process alone, on the same file system."""
    return path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.{suffix}")
