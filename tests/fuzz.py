"""Damage model folders, corpora and run files at random, and use them in forked processes.

A seed and a number make a case, which `take` repeats. Anything but success or an error that
commands print in one line is a failure: another exception, a signal, or more than LIMIT seconds.
"""

from __future__ import annotations

import faulthandler
import json
import multiprocessing
import os
import random
import resource
import shutil
import sys
import time
import tomllib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w
from safetensors import safe_open
from safetensors.numpy import save

import selfattn_bio as sb
from selfattn_bio.cli.main import system_failure
from selfattn_bio.data.corpus import fingerprint_of
from selfattn_bio.data.writer import TYPES
from selfattn_bio.errors import SelfAttnBioError
from selfattn_bio.files import sha256_of

LIMIT = 120  # seconds of a case; the first one may compile functions
MEMORY = 8 << 30  # bytes of address space that a process may add
CHUNK = 500  # cases of one process
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 7, 0.5, -0.5, 1e308, -1e308, float("inf"), float("nan"), 2**31),
    *(2**63, -(2**63), 10**12, 10**20, 10**400, "", "x", "0", "é" * 300, "../x", "a\0b", [], {}),
    *([1], ["x"], [[]], {"x": 1}, {"kind": "x"}, [None] * 3, "9" * 50),
]
SEQUENCES = ["ACGTACGTACGTACGTACGTACGTTTGACATTGAC" * 2, "TTTTTTTTTTTTTTNNNNNNNNNNNNNNNNNNNNNNN" * 2]


# ------------------------------------------------------------------------------------------- damage
def of_bytes(path: Path, rng: random.Random) -> None:
    """Flip bits, cut, repeat or overwrite bytes."""
    content = bytearray(path.read_bytes())
    at, size = rng.randrange(len(content) + 1), rng.choice((1, 2, 8, 100, 4000))
    match rng.randrange(6):
        case 0:
            content = content[:at]
        case 1:
            content[at:at] = content[at : at + size]
        case 2:
            del content[at : at + size]
        case 3:
            content[at : at + size] = rng.randbytes(len(content[at : at + size]))
        case _:
            head = rng.random() < 0.5  # where most formats have their sizes
            for _ in range(rng.choice((1, 1, 2, 8))):
                place = rng.randrange(min(len(content), 200) if head else len(content))
                content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container in a value, with each of its keys."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places_in(inner)


def of_values(content: dict[str, Any], rng: random.Random) -> None:
    """Replace, delete, rename, exchange or wrap values."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = list(places_in(content))
        if not places:
            return
        (holder, key), (other, name) = rng.choice(places), rng.choice(places)
        match rng.randrange(8):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[rng.choice((f"{key}x", "kind", "", "x.y"))] = holder.pop(key)
            case 2:
                holder[key] = json.loads(json.dumps(other[name]))
            case 3:
                holder[key] = rng.choice(([holder[key]], {"x": holder[key]}, str(holder[key])))
            case 4 if isinstance(holder[key], int | float):
                holder[key] = holder[key] * rng.choice((-1, 2, 1000, 0.5, 10**6))
            case _:
                holder[key] = rng.choice(VALUES)


def of_json(path: Path, rng: random.Random) -> None:
    content = json.loads(path.read_bytes())
    of_values(content, rng)
    path.write_text(json.dumps(content))


def of_toml(path: Path, rng: random.Random) -> None:
    text = path.read_text()
    if rng.random() < 0.3:
        lines = text.splitlines()
        at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        lines[at : at + rng.randrange(2)] = [lines[other]]
        path.write_text("\n".join(lines))
        return
    content = tomllib.loads(text)
    of_values(content, rng)
    try:
        path.write_text(tomli_w.dumps(content))
    except (TypeError, ValueError):  # None, which TOML lacks
        path.write_text(
            text.replace("= ", "= " + rng.choice(("9" * 5000, "[", "'", "1979-05-27 ")), 1)
        )


def of_arrays(path: Path, rng: random.Random) -> None:
    """Change type, shape, values or name of an array."""
    with safe_open(path, "numpy") as file:
        arrays, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    name, other = rng.choice(list(arrays)), rng.choice(list(arrays))
    array = arrays[name].copy()
    match rng.randrange(8):
        case 0:
            del arrays[name]
        case 1:
            arrays[name] = arrays[other]
        case 2:
            arrays[rng.choice((f"{name}x", "x", "conformal/x"))] = arrays.pop(name)
        case 3:
            kind = rng.choice(("f2", "f4", "f8", "i1", "i4", "i8", "u1", "?"))
            arrays[name] = np.nan_to_num(array).astype(kind)
        case 4:
            cut = (array[:-1], array[None], array.reshape(-1), array[..., :0], array.T)
            arrays[name] = np.ascontiguousarray(rng.choice(cut)) if array.ndim else array[None]
        case 5:
            arrays[name] = np.concatenate([array, array]) if array.ndim else array[None]
        case _:
            if array.size:
                with np.errstate(all="ignore"):
                    value = np.float64(rng.choice((np.nan, np.inf, -1, 0, 1e30, 10**9, 255)))
                    array.flat[rng.randrange(array.size)] = value.astype(array.dtype)
            arrays[name] = array
    path.write_bytes(save(arrays, metadata=metadata))


def of_table(path: Path, rng: random.Random) -> None:
    """Change a column, the rows or a value."""
    table = pd.read_parquet(path)
    name, row = rng.choice(list(table.columns)), rng.randrange(len(table))
    match rng.randrange(7):
        case 0:
            table = table.drop(columns=name)
        case 1:
            table = table.rename(columns={name: rng.choice(("x", "id", *table.columns))})
        case 2:
            table = pd.concat([table, table.iloc[[row]]])
        case 3:
            table = table.drop(index=row)
        case 4:
            table[name] = rng.choice((0, "x", 1.5, None, True, [[1]] * len(table), b"x"))
        case 5:
            table = table.iloc[::-1]
        case _:
            values = table[name].tolist()
            values[row] = rng.choice((*values, None, -1, 2**62, "x"))
            table[name] = values
    table.to_parquet(path, index=False)


OF_FORMAT = {".json": of_json, ".toml": of_toml, ".safetensors": of_arrays, ".parquet": of_table}


def damage(folder: Path, rng: random.Random, names: list[str]) -> None:
    """Damage one or two files of a folder."""
    for _ in range(rng.choice((1, 1, 1, 2))):
        path = folder / rng.choice(names)
        if not path.is_file():
            continue
        content, swapped = path.read_bytes(), (folder / rng.choice(names))
        swapped = swapped.read_bytes() if swapped.is_file() else b""
        path.unlink()  # the files of the folder are links
        match rng.randrange(20):
            case 0:
                continue
            case 1:
                path.mkdir()
            case 2:
                path.write_bytes(swapped)
            case 3:
                os.mkfifo(path)
            case _:
                path.write_bytes(content)
                try:
                    OF_FORMAT.get(path.suffix if rng.random() < 0.8 else "", of_bytes)(path, rng)
                # a second damage of a file, or a value that its format cannot have
                except Exception:
                    path.write_bytes(content)
                    of_bytes(path, rng)


def correct(folder: Path) -> None:
    """Write the hashes of the damaged files of a model folder, so that later checks see them."""
    provenance, weights = folder / "provenance.json", folder / "model.safetensors"
    content = json.loads(provenance.read_bytes())
    content["weights_sha256"] = sha256_of(weights)
    provenance.unlink()
    provenance.write_text(json.dumps(content))


def correct_corpus(folder: Path) -> None:
    """Write the fingerprint of a damaged corpus."""
    summary = folder / "corpus.json"
    content = json.loads(summary.read_bytes())
    records = pd.read_parquet(folder / "records.parquet").astype(TYPES)
    content["fingerprint"] = fingerprint_of(records, folder)
    content["num_records"], content["num_letters"] = (
        len(records),
        (folder / "letters.bin").stat().st_size,
    )
    summary.unlink()
    summary.write_text(json.dumps(content))


# --------------------------------------------------------------------------------------------- uses
def use_model(folder: Path, rng: random.Random) -> None:
    model = sb.load(folder)
    sb.score_sequences(model, SEQUENCES)
    if rng.random() < 0.3:
        sb.score_sequences(model, SEQUENCES, coverage=0.9)
    if rng.random() < 0.1:
        sb.embed(model, SEQUENCES)


def use_corpus(folder: Path, rng: random.Random) -> None:
    study = sb.Study(folder)
    corpus = study.corpus
    corpus.targets([])
    for row in range(min(len(corpus), 3)):
        corpus.letters(row)
        if corpus.partner:
            corpus.partner_letters(row)
    study.split()
    if rng.random() < 0.2:
        study.audit()
    if rng.random() < 0.02:
        study.evaluate()


def use_run_file(folder: Path, rng: random.Random) -> None:
    study = sb.Study(folder)
    shutil.rmtree(folder / "corpus")
    study.ingest()
    study.split()


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def take(case: int, seed: int, tasks: list[Path], models: list[Path], folder: Path) -> None:
    """Take a case in an empty folder."""
    rng = random.Random(f"{seed} {case}")
    kind = rng.choice(("model", "model", "corpus", "run"))
    sound = rng.choice(models if kind == "model" else tasks)
    shutil.copytree(
        sound, folder, copy_function=os.link, ignore=lambda path, names: {"model.checkpoints"}
    )
    use: Callable[[Path, random.Random], None]
    if kind == "model":
        names, use = files_below(folder), use_model
    elif kind == "corpus":
        names = [f"corpus/{name}" for name in files_below(folder / "corpus")]
        names += ["split.tsv"] if rng.random() < 0.1 else []
        use = use_corpus
    else:
        names, use = ["run.toml"], use_run_file
    damage(folder, rng, names)
    has_pipe = any(not (path.is_file() or path.is_dir()) for path in folder.rglob("*"))
    if not has_pipe and rng.random() < 0.6:
        try:
            if kind == "model":
                correct(folder)
            elif kind == "corpus":
                correct_corpus(folder / "corpus")
        except Exception:  # the damage is too large
            pass
    os.chdir(folder)
    use(folder, rng)


# ---------------------------------------------------------------------------------------- processes
def take_some(first: int, seed: int, tasks: Any, models: Any, folder: Path, pipe: Any) -> None:
    """Take cases until killed, and send the number and the traceback of each."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = (
        int(Path("/proc/self/statm").read_text().split()[0]) * 4096
        if sys.platform == "linux"
        else used
    )
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    errors = open(folder / "errors", "w")  # noqa: SIM115
    faulthandler.enable(errors)
    os.dup2(errors.fileno(), 2)
    for case in range(first, first + CHUNK):
        pipe.send((case, None))
        faulthandler.dump_traceback_later(LIMIT - 10, file=errors)
        os.chdir(folder)
        shutil.rmtree(folder / "case", ignore_errors=True)
        try:
            take(case, seed, tasks, models, folder / "case")
            found = ""
        except BaseException as error:
            is_line = isinstance(error, SelfAttnBioError) or (
                isinstance(error, OSError) and system_failure(error)
            )
            found = "refused" if is_line else traceback.format_exc()
        pipe.send((case, found))


def run_cases(
    tasks: list[Path], models: list[Path], folder: Path, seed: int, seconds: float
) -> tuple[int, int, dict[int, str]]:
    """Take cases for a time; return the numbers of cases and of those that were refused.

    The third result has the traceback of each failure by the number of its case.
    """
    until, case, refused, failures = time.monotonic() + seconds, 0, 0, {}
    fork = multiprocessing.get_context("fork")
    while time.monotonic() < until:
        mine, theirs = fork.Pipe()
        process = fork.Process(target=take_some, args=(case, seed, tasks, models, folder, theirs))
        process.start()
        theirs.close()
        while time.monotonic() < until:
            if not mine.poll(LIMIT):
                text = (folder / "errors").read_text(errors="replace")[-2000:]
                failures[case] = f"more than {LIMIT} s\n{text}"
                break
            try:
                number, found = mine.recv()
            except EOFError:
                process.join()
                if process.exitcode:
                    text = (folder / "errors").read_text(errors="replace")[-2000:]
                    failures[case] = f"exit code {process.exitcode}\n{text}"
                break
            if found is None:
                case = number
            else:
                refused += found == "refused"
                if found not in ("", "refused"):
                    failures[number] = found
        process.kill()
        process.join()
        case += 1
    return case, refused, failures
