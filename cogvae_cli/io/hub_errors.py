"""The Hub's failures as one line each: what huggingface_hub raises, told to a user."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from cogvae_cli.errors import CogvaeError, HubError, ModelError

_AWAY = "try again with network, or give `--model tiny` or a local path"
_LATER = "try again later, or give `--model tiny` or a local path"
_ACCESS = (
    "accept its terms on the Hub and log in (`hf auth login`, or HF_TOKEN), or give `--model tiny` or a local path"
)
_OTHER = "check the name, or give `--model tiny` or a local path"
_ENDPOINT = "check HF_ENDPOINT and the proxy, or give `--model tiny` or a local path"
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UnreachableError(HubError):
    """The Hub gives no answer: no network, HF_HUB_OFFLINE, or its server fails."""


@dataclass(frozen=True)
class RepoAt:
    """A repository of the Hub at a commit, tag or branch."""

    repo: str
    revision: str

    def __str__(self) -> str:
        return f"{self.repo} at {self.revision[:12]}"


def told(where: RepoAt, error: Exception) -> CogvaeError:
    """What huggingface_hub or its HTTP library raised, as the user should read it."""
    import httpx2  # comes with huggingface_hub, whose network failures are its classes
    from huggingface_hub import constants, errors

    cause = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) else error
    if not isinstance(cause, Exception):
        cause = error
    if constants.is_offline_mode() and isinstance(cause, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        text = f"{where} isn't whole in the Hub's cache, and HF_HUB_OFFLINE forbids fetching it"
        return UnreachableError(text, _AWAY)
    if isinstance(cause, errors.HFValidationError):
        return ModelError(f"{where.repo} is no Hub id: {line(cause)}", _OTHER)
    if isinstance(cause, errors.HfHubHTTPError):
        return _refused(where, cause)
    if isinstance(cause, httpx2.TimeoutException):
        return UnreachableError(f"the Hub doesn't answer in time to fetch {where}", _AWAY)
    if isinstance(cause, httpx2.HTTPError):
        return UnreachableError(f"the Hub can't be reached to fetch {where}: {line(cause)}", _AWAY)
    if isinstance(cause, errors.FileMetadataError | httpx2.InvalidURL):
        return garbled(where, cause)
    if isinstance(cause, OSError) and (cause.filename is not None or cause.errno in _DISK):
        return _disk(cause)
    return HubError(f"{where} can't be fetched: {line(cause)}", _AWAY)


def garbled(where: RepoAt, error: Exception) -> CogvaeError:
    """For an answer that isn't the Hub's: a proxy's page, say, or another server at HF_ENDPOINT."""
    from huggingface_hub import constants

    text = f"{constants.ENDPOINT} doesn't answer as the Hub does, when asked for {where}: {line(error)}"
    return HubError(text, _ENDPOINT)


def absent(where: RepoAt, what: str) -> CogvaeError:
    """For a file that the repository lacks."""
    return ModelError(f"{where} has no {what}", _OTHER)


def _refused(where: RepoAt, error: Exception) -> CogvaeError:
    """For an answer with a status of failure: an HfHubHTTPError."""
    from huggingface_hub import errors

    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else 0
    if isinstance(error, errors.GatedRepoError):
        return HubError(f"{where.repo} is gated, and this account has no access to it ({status})", _ACCESS)
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelError(
            f"{where.repo} has no revision {where.revision!r}", "name a commit, tag or branch that it has"
        )
    if status == 404:
        return ModelError(f"the Hub has no repository {where.repo}, or not that file of it", _OTHER)
    if status == 401:
        return HubError(
            f"the Hub wants a login for {where.repo}: it is private, gated, or doesn't exist (401)", _ACCESS
        )
    if status == 403:
        return HubError(f"the Hub refuses access to {where.repo} (403)", _ACCESS)
    if status == 429 or status >= 500:
        return UnreachableError(f"the Hub fails with {status} for {where}: {line(error)}", _LATER)
    return HubError(f"the Hub answers {status} for {where}: {line(error)}", _AWAY)


def _disk(error: OSError) -> CogvaeError:
    from huggingface_hub import constants

    return HubError(
        f"the Hub's cache {constants.HF_HUB_CACHE} can't be written: {error.strerror}",
        "make room there, or name another folder with HF_HOME",
    )


def line(error: BaseException) -> str:
    """The first line of an exception's text, or its class where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
