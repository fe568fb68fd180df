"""Fetching a few files of a repository through huggingface_hub, with its failures told in one line each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cogvae_cli.errors import CogvaeError, HubError, ModelError

_AWAY = "try again with network, or give `--model tiny` or a local path"
_ACCESS = (
    "accept its terms on the Hub and log in (`hf auth login`, or HF_TOKEN), or give `--model tiny` or a local path"
)
_OTHER = "check the name, or give `--model tiny` or a local path"


@dataclass(frozen=True)
class RepoAt:
    """A repository of the Hub at a commit, tag or branch."""

    repo: str
    revision: str

    def __str__(self) -> str:
        return f"{self.repo} at {self.revision[:12]}"


def download(where: RepoAt, patterns: tuple[str, ...]) -> tuple[Path, str]:
    """Fetches the files that match a pattern into the Hub's cache; gives the snapshot's folder and its commit.

    Raises ModelError for a repository or revision that doesn't exist, HubError for all that keeps the Hub from serving.
    """
    import httpx2  # comes with huggingface_hub, whose network failures are its classes
    from huggingface_hub.errors import HFValidationError, XetDownloadError

    try:
        folder = _snapshot(where, patterns)
    except HFValidationError as error:
        raise ModelError(f"{where.repo} is no Hub id: {_line(error)}", _OTHER) from error
    except (httpx2.HTTPError, XetDownloadError, OSError) as error:
        raise _told(where, error) from error
    return folder, folder.name


def _snapshot(where: RepoAt, patterns: tuple[str, ...]) -> Path:
    """The snapshot's folder, with the files that match; what is cached whole is taken without network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    away = _unreachable(where)
    try:
        folder = snapshot_download(
            where.repo,
            revision=where.revision,
            allow_patterns=list(patterns),
            local_files_only=away is not None,
        )
    except LocalEntryNotFoundError as error:
        raise (away or error) from error.__cause__
    return Path(folder)


def _unreachable(where: RepoAt) -> Exception | None:
    """Why a commit whose files aren't listed in the cache can't be listed now; None where it can, or needs not.

    Asked here because the library, given a commit, goes on trying for 20 s when there is no network.
    """
    import httpx2
    from huggingface_hub import HfApi, get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError, OfflineModeIsEnabled

    if not re.fullmatch(r"[0-9a-f]{40}", where.revision):
        return None
    try:
        get_cached_repo_tree(where.repo, revision=where.revision)
    except CachedRepoTreeNotFoundError:
        try:
            HfApi().repo_info(where.repo, revision=where.revision)
        except (httpx2.HTTPError, OfflineModeIsEnabled) as error:
            return error
    return None


def _told(where: RepoAt, error: Exception) -> CogvaeError:
    """The error as the user should read it."""
    import httpx2
    from huggingface_hub import constants, errors

    cause = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ else error
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled) and constants.is_offline_mode():
        return _offline(where)
    if isinstance(cause, errors.GatedRepoError):
        return HubError(f"{where.repo} is gated, and this account has no access to it", _ACCESS)
    if isinstance(cause, errors.RevisionNotFoundError):
        return ModelError(
            f"{where.repo} has no revision {where.revision!r}", "name a commit, tag or branch that it has"
        )
    if isinstance(cause, errors.HfHubHTTPError):
        return _refused(where, cause.response.status_code, cause)
    if isinstance(cause, httpx2.HTTPError):
        return HubError(f"the Hub can't be reached to fetch {where}: {_line(cause)}", _AWAY)
    return HubError(f"{where} can't be fetched: {_line(cause)}", _AWAY)


def absent(where: RepoAt, what: str) -> CogvaeError:
    """The error for a file that a snapshot lacks: the repository has none, or the cache isn't whole."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return _offline(where)
    return ModelError(f"{where} has no {what}", _OTHER)


def _offline(where: RepoAt) -> HubError:
    return HubError(f"{where} isn't whole in the Hub's cache, and HF_HUB_OFFLINE forbids fetching it", _AWAY)


def _refused(where: RepoAt, status: int, error: BaseException) -> CogvaeError:
    if status == 404:
        return ModelError(f"the Hub has no repository {where.repo}, or not that file of it", _OTHER)
    if status == 401:
        return HubError(
            f"the Hub wants a login for {where.repo}: it is private, gated, or doesn't exist (401)", _ACCESS
        )
    if status == 403:
        return HubError(f"the Hub refuses access to {where.repo} (403)", _ACCESS)
    return HubError(f"the Hub answers {status} for {where}: {_line(error)}", _AWAY)


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
