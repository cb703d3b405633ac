"""Start Python in a fork of a process that has imported the libraries, which takes seconds.

`fast_python()` returns a program for tests to run in place of `sys.executable`. Only libraries are
imported before the fork. The package is imported after it, as by a fresh process: a test can start
a copy of the package, and a command that misses an import fails.
"""

import atexit
import functools
import json
import os
import signal
import socket
import sys
from typing import NoReturn

ADDRESS = "SELFATTN_FAST_PYTHON"  # variable with the program of another process
LIBRARIES = (
    *("jupytext", "lightgbm", "lightning_fabric", "matplotlib.figure"),
    *("modiscolite", "pandas", "papermill.cli", "pyarrow.parquet", "pydantic", "pysam"),
    *("scipy.optimize", "sklearn.linear_model", "sklearn.metrics", "snakemake.cli"),
)


@functools.cache
def fast_python() -> str:
    """Start the process that forks, and return the path of the program. Both end with pytest."""
    import subprocess
    import tempfile

    if ADDRESS in os.environ:
        return os.environ[ADDRESS]
    folder = tempfile.TemporaryDirectory(prefix="fast-python-")
    address, program = f"{folder.name}/socket", f"{folder.name}/python"
    with open(program, "w") as file:
        # dash would drop functions in the environment
        file.write(f'#!/bin/bash\nexec "{sys.executable}" -SIs "{__file__}" "{address}" "$@"\n')
    os.chmod(program, 0o755)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen()
    # one thread: threads of a library would be lost in the forks
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(listener.fileno())],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        pass_fds=[listener.fileno()],
    )
    listener.close()
    atexit.register(folder.cleanup)
    atexit.register(server.communicate)
    return program


def serve(listener: socket.socket) -> None:
    """Fork for each connection until stdin is closed."""
    import gc
    import importlib
    import select

    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # a collection in a fork would copy the memory of the libraries
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # reap the forks
    while listener in select.select([listener, 0], [], [])[0]:
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            answer(connection)
        connection.close()


def answer(connection: socket.socket) -> NoReturn:
    """Run what a client asks for in a fork; send its process id and exit code."""
    request, streams, _, _ = socket.recv_fds(connection, 2**18, 3)
    import threading
    import traceback

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if child := os.fork():
        connection.send(str(child).encode())
        connection.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
        os._exit(0)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    code: object = 0
    try:
        become(*json.loads(request))
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    if not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    # all that the end of Python does, except to delete the modules, which takes a second
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def become(folder: str, environment: dict[str, str], arguments: list[str]) -> None:
    """Run Python's `arguments`: -m MODULE, -c CODE, - or a script, and their arguments."""
    import runpy
    import types

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    del sys.path[0]  # the folder of this file
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    what, *rest = arguments
    if what == "-m":
        sys.path.insert(0, folder)
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif what in ("-c", "-"):
        sys.path.insert(0, "")
        code = rest.pop(0) if what == "-c" else sys.stdin.read()
        sys.argv = [what, *rest]
        sys.modules["__main__"] = main = types.ModuleType("__main__")
        exec(compile(code, "<string>", "exec"), main.__dict__)
    else:
        sys.argv = arguments
        sys.path.insert(0, os.path.dirname(os.path.abspath(what)))
        runpy.run_path(what, run_name="__main__")


def ask(address: str, arguments: list[str]) -> int:
    """Run `arguments` in a fork with the streams of this process; return its exit code."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(address)
    request = json.dumps([os.getcwd(), dict(os.environ), arguments]).encode()
    socket.send_fds(connection, [request], [0, 1, 2])
    child = int(connection.recv(100))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: os.kill(child, received))
    code = int(connection.recv(100))
    if code < 0:  # killed by a signal
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(socket.socket(fileno=int(sys.argv[2])))
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
