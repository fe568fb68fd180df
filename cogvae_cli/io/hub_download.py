"""Asking the Hub what a repository holds and fetching single files of it, through huggingface_hub.

Files come one after the other in the calling thread, so that Ctrl-C ends a fetch at once. A connection that breaks is
taken up again where it broke, by huggingface_hub; a command that ends before the file is whole leaves nothing of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path
from typing import Any

from cogvae_cli.io.hub_cache import COMMIT
from cogvae_cli.io.hub_errors import RepoAt, garbled, told

_GARBAGE = (ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError)
"""What huggingface_hub raises when an answer's JSON isn't JSON, or not of the form that it expects."""


class Transfer:
    """Listener of a download; every method may be left as it is."""

    def begin(self, name: str, size: int | None) -> None:
        """A file's bytes start to come; `size` in bytes, where the Hub told it."""

    def received(self, count: int) -> None:
        """That many bytes more; less than 0 where a file starts over."""

    def end(self) -> None:
        """The file is whole, or fetching it failed."""

    def notice(self, text: str) -> None:
        """One line that the user should know."""


@dataclass(frozen=True)
class RemoteFile:
    """What the Hub says of a file: its length in bytes, and the sha256 of a large file or the git hash of a small."""

    size: int | None
    sha256: str | None
    git_hash: str | None


@dataclass(frozen=True)
class Listing:
    """The files of a repository at one commit, by path."""

    commit: str
    files: Mapping[str, RemoteFile]


def listing(where: RepoAt) -> Listing:
    """Asks the Hub, in one request. Raises UnreachableError where it doesn't answer, HubError, ModelError."""
    import httpx2
    from huggingface_hub import HfApi, constants

    timeout = constants.HF_HUB_ETAG_TIMEOUT
    try:
        info = HfApi().model_info(where.repo, revision=where.revision, files_metadata=True, timeout=timeout)
        if not isinstance(info.sha, str) or not COMMIT.fullmatch(info.sha):
            raise ValueError(f"it names the commit {str(info.sha)[:80]!r}")
        files = {
            file.rfilename: RemoteFile(file.size, file.lfs.sha256 if file.lfs else None, file.blob_id)
            for file in info.siblings or ()
        }
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise told(where, error) from error
    except _GARBAGE as error:
        from huggingface_hub.errors import HFValidationError

        raise (told if isinstance(error, HFValidationError) else garbled)(where, error) from error
    return Listing(info.sha, files)


def fetch(where: RepoAt, name: str, transfer: Transfer | None = None) -> tuple[Path, str]:
    """Brings one file into the Hub's cache, unless it is there; gives its path and the commit that it belongs to.

    Without a listener huggingface_hub draws its own bar on a terminal. Raises HubError, ModelError.
    """
    import httpx2
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import XetDownloadError

    bar = _bar(name, transfer) if transfer else None
    try:
        with _relayed_warnings(transfer):
            path = Path(hf_hub_download(where.repo, name, revision=where.revision, tqdm_class=bar))
    except (httpx2.HTTPError, httpx2.InvalidURL, XetDownloadError, OSError) as error:
        raise told(where, error) from error
    except ValueError as error:  # a header that should hold a number
        raise garbled(where, error) from error
    return path, path.parents[name.count("/")].name


def _bar(name: str, transfer: Transfer) -> Any:
    """A class for huggingface_hub's `tqdm_class`, which makes one bar a file and has no other way to tell bytes."""
    from tqdm.std import tqdm

    class Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
        __init__ = partialmethod(tqdm.__init__, disable=True)  # it draws nothing
        begun = False

        def update(self, count: float | None = 1) -> None:
            if not self.begun:
                self.begun = True
                transfer.begin(name, self.total)
                transfer.received(self.n)
            self.n += count or 0
            transfer.received(int(count or 0))

        def update_transfer(self, count: float | None = 1) -> None:
            """Bytes on the wire, which a Xet download counts apart from the file's own."""

        def set_transfer_postfix_str(self, text: str, refresh: bool = False) -> None:
            """The speed on the wire, which nobody is shown."""

        def close(self) -> None:
            if self.begun:
                self.begun = False
                transfer.end()

    return Bar


class _Relay(logging.Handler):
    def __init__(self, transfer: Transfer) -> None:
        super().__init__(logging.WARNING)
        self._transfer = transfer

    def emit(self, record: logging.LogRecord) -> None:
        self._transfer.notice(" ".join(record.getMessage().split()))


@contextmanager
def _relayed_warnings(transfer: Transfer | None) -> Iterator[None]:
    """Sends huggingface_hub's warnings, as of a broken connection, to the listener instead of to stderr."""
    log = logging.getLogger("huggingface_hub")
    before = log.handlers[:]
    if transfer is not None:
        log.handlers[:] = [_Relay(transfer)]
    try:
        yield
    finally:
        log.handlers[:] = before
