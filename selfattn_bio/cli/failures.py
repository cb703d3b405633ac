"""Describe failures of the system in one line: disks, paths and caches."""

from __future__ import annotations

import errno

# errors of the system when writing; HINTS has the advice for each
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
HINTS = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Free some space, or write elsewhere")
HINTS |= dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.EROFS), "Choose another path, or change its permissions"
)
# errors of a path or a file system that is not available
UNREACHABLE = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EIO,
    errno.ESTALE,
    errno.ENOLCK,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)


def system_failure(error: OSError | RuntimeError) -> str:
    """Describe a disk that is full, read-only, failing or gone, or a cache without a folder.

    Returns
    -------
    The system's message with the path and a hint; empty for any other error.
    """
    if not isinstance(error, OSError):
        return (
            "numba has no folder for its cache that it may write to. Set NUMBA_CACHE_DIR to such a "
            "folder"
            if "cannot cache function" in str(error)
            else ""
        )
    if error.errno in UNWRITABLE:
        path, problem = error.filename or "output", "cannot be written"
    elif error.errno in UNREACHABLE and error.filename:
        path, problem = error.filename, "cannot be accessed"
    else:
        return ""
    hint = f". {HINTS[error.errno]}" if error.errno in HINTS else ""
    return f"{path}: {problem}: {error.strerror}{hint}"
