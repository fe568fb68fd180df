"""Outputs that are whole or not there: a locked temporary file beside the output, renamed into place when complete."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from cogvae_cli.errors import OutputError, OutputExistsError, UsageError

_LONGEST_NAME = 200  # bytes; with the temporary file's additions it stays below the 255 that file systems allow
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EACCES)
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)
_OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_END = re.compile(r"[0-9a-f]{16}\.part")


def check_output(path: Path, *, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Refuses an output that can't be written or may not be, before any work is done. Writes nothing.

    A symbolic link counts as the output itself: it is replaced, and what it points to stays as it is.
    Raises OutputExistsError, UsageError if it is one of the inputs, and OutputError.
    """
    try:
        _check(path, overwrite=overwrite, inputs=inputs)
    except OSError as error:  # a name that is too long, a loop of links
        raise OutputError(f"{path}: can't be written ({_words(error)})") from error


def _check(path: Path, *, overwrite: bool, inputs: Sequence[Path]) -> None:
    folder = path.parent
    if not folder.is_dir():
        fault = "is not a folder" if folder.exists() else "does not exist"
        raise OutputError(f"{path}: can't be written, {folder} {fault}")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder")
    for source in inputs:
        if _is_same(path, source):
            raise UsageError(f"{path}: is an input and can't be the output too", hint="name another output")
    if path.exists() and not path.is_file():  # /dev/null would be replaced by a file
        raise OutputError(f"{path}: is not a regular file")
    if os.path.lexists(path) and not overwrite:
        raise OutputExistsError(f"{path}: exists already", hint="overwrite it with -y")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: can't be written, no permission to write in {folder}")


@contextlib.contextmanager
def atomic_output(path: Path, *, overwrite: bool, inputs: Sequence[Path] = (), lasting: bool = True) -> Iterator[Path]:
    """Gives the path of a new temporary file to write to; it becomes the output when the block ends without exception.

    On any exception, Ctrl-C included, it is removed and an older output is as it was. What a killed process left of
    the same output is removed first. `lasting`: whether its name is to outlive a crash of the machine, as its bytes do
    in any case. Raises as `check_output` does, and OutputError where the disk is full.
    """
    check_output(path, overwrite=overwrite, inputs=inputs)
    try:
        remove_leftovers(path)
        temporary, descriptor = _create(path)
    except OSError as error:
        raise OutputError(f"{path}: can't be written ({error.strerror})") from error
    try:
        yield temporary
        os.fsync(descriptor)
        move_into_place(temporary, path, overwrite=overwrite, lasting=lasting)
    except OSError as error:
        if error.errno not in _OUTPUT_ERRORS:
            raise
        raise OutputError(f"{path}: can't be written ({_words(error)})") from error
    finally:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)  # and with it goes the lock


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Gives a new temporary folder beside an output, locked while its writer lives, and removes it at the end.

    The caller moves what is in it, or the folder itself, into place. What a killed process left is removed first.
    Raises OutputError where it can't be made, or the disk is full.
    """
    try:
        remove_leftovers(path)
        temporary = path.with_name(f"{_prefix(path)}{secrets.token_hex(8)}.part")
        temporary.mkdir()  # fails if it is there
        descriptor = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise OutputError(f"{path}: can't be written ({_words(error)})") from error
    try:
        _lock(descriptor)
        yield temporary
    except OSError as error:
        if error.errno not in _OUTPUT_ERRORS:
            raise
        raise OutputError(f"{path}: can't be written ({_words(error)})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(descriptor)


def _is_same(path: Path, source: Path) -> bool:
    try:
        return path.samefile(source)
    except OSError:  # one of them isn't there, so they aren't the same
        return False


def _prefix(path: Path) -> str:
    """How the names of this output's temporary files start."""
    encoded = os.fsencode(path.name)
    return f".{path.name if len(encoded) <= _LONGEST_NAME else hashlib.sha256(encoded).hexdigest()}."


def _create(path: Path) -> tuple[Path, int]:
    """A new file beside the output, by a name that nobody can guess, and the descriptor that holds its lock."""
    mode = stat.S_IMODE(path.stat().st_mode) if path.is_file() else None
    while True:
        temporary = path.with_name(f"{_prefix(path)}{secrets.token_hex(8)}.part")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            if mode is not None:
                os.fchmod(descriptor, mode)
            if _lock(descriptor) and _is_still(temporary, descriptor):
                return temporary, descriptor
        except BaseException:
            temporary.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        os.close(descriptor)  # another run took it for a leftover before the lock was held


def _lock(descriptor: int) -> bool:
    """Whether nobody else holds the lock. True too where the file system has no locks: then nobody removes either."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the path still names the file that is open."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def remove_leftovers(path: Path) -> None:
    """Removes this output's temporary files and folders that no living process holds a lock on."""
    prefix = _prefix(path)  # no pattern of its own for each output: compiling it takes longer than all the rest
    for entry in os.scandir(path.parent):
        if not (entry.name.startswith(prefix) and _END.fullmatch(entry.name, len(prefix))):
            continue
        if entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False):
            _remove_if_unlocked(Path(entry.path), folder=entry.is_dir(follow_symlinks=False))


def _remove_if_unlocked(leftover: Path, *, folder: bool) -> None:
    mode = os.O_RDONLY | os.O_DIRECTORY if folder else os.O_RDWR
    try:
        descriptor = os.open(leftover, mode | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # gone in the meantime, or somebody else's
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_still(leftover, descriptor):
            if folder:
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)
    except OSError:  # its writer lives, or the file system has no locks and nobody can tell
        return
    finally:
        os.close(descriptor)


def move_into_place(temporary: Path, path: Path, *, overwrite: bool, lasting: bool = True) -> None:
    """Gives a complete file on the same file system its name. Where it may not overwrite, the old name can stay too.

    A crash at any moment leaves the old file or the new one; after this, if it is to be lasting, the new one.
    Raises OutputExistsError where something has that name by now and may not be overwritten; OSError.
    """
    if overwrite:
        temporary.replace(path)
    else:
        _link(temporary, path)
    if not lasting:
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(folder)


def _link(temporary: Path, path: Path) -> None:
    """Gives the file its name unless something has that name by now."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError as error:
        raise OutputExistsError(f"{path}: was created meanwhile", hint="overwrite it with -y") from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(path):
            raise OutputExistsError(f"{path}: exists already", hint="overwrite it with -y") from error
        temporary.replace(path)


def _words(error: OSError) -> str:
    return error.strerror or os.strerror(error.errno or 0)
