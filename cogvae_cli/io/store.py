"""Outputs that have a URL, through fsspec: put into a store as whole objects, and read back to be judged.

An object store shows an object only once all of it has arrived, so an output is whole or not there. Other file systems
get a temporary name first, where they can rename.
"""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cogvae_cli.errors import InputError, OutputError, OutputExistsError
from cogvae_cli.io.fingerprint import sha256_of
from cogvae_cli.io.remote import system_of, url_sha256, url_stamp

_RENAMING = ("file", "local", "memory", "sftp", "ssh", "smb", "hdfs", "webhdfs", "nfs")
"""Kinds of URL whose files can be seen while they are written; all others are taken for object stores."""


class Store:
    """The folder of a URL. Names are places below it. Raises OutputError for what it refuses."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def url_of(self, name: str) -> str:
        """Of one output."""
        return f"{self.url}/{name}"

    def put(self, path: Path, name: str, *, overwrite: bool) -> None:
        """Makes a whole file an output. One that is there with the same bytes is left as it is.

        Raises OutputExistsError for other bytes that may not be overwritten.
        """
        url = self.url_of(name)
        if not overwrite and self.has(name):
            if url_sha256(url) != sha256_of(path):
                raise OutputExistsError(f"{url}: exists already, with other bytes", "overwrite it with -y")
            return
        system, place = system_of(url)
        with _told(url):
            if _kinds(system).isdisjoint(_RENAMING):
                system.put_file(str(path), place)
                return
            system.makedirs(posixpath.dirname(place), exist_ok=True)
            temporary = posixpath.join(posixpath.dirname(place), f".{secrets.token_hex(8)}.part")
            try:
                system.put_file(str(path), temporary)
                system.mv(temporary, place)
            finally:
                if system.exists(temporary):
                    system.rm_file(temporary)

    def has(self, name: str) -> bool:
        """Whether there is something of that name."""
        url = self.url_of(name)
        system, place = system_of(url)
        with _told(url):
            system.invalidate_cache()
            return bool(system.isfile(place))

    def stamp(self, name: str) -> dict[str, Any] | None:
        """Bytes and version of an output, as its row has them; None where there is none."""
        if not self.has(name):
            return None
        found = url_stamp(self.url_of(name))
        return {"output_bytes": found["source_bytes"], "output_version": found["source_version"]}

    def get(self, name: str, path: Path) -> bool:
        """Copies an output to a file here; whether there was one."""
        if not self.has(name):
            return False
        url = self.url_of(name)
        system, place = system_of(url)
        with _told(url):
            system.get_file(place, str(path))
        return True

    def names(self, pattern: str) -> list[str]:
        """What is directly below the URL and fits a pattern, in order."""
        system, place = system_of(self.url)
        with _told(self.url):
            system.invalidate_cache()
            return sorted(posixpath.basename(found) for found in system.glob(posixpath.join(place, pattern)))

    def remove(self, name: str) -> None:
        """Takes an output away, if it is there."""
        url = self.url_of(name)
        if self.has(name):
            system, place = system_of(url)
            with _told(url):
                system.rm_file(place)


def _kinds(system: Any) -> set[str]:
    protocol = system.protocol
    return {protocol} if isinstance(protocol, str) else set(protocol)


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Turns what file systems raise into OutputError that names the URL."""
    try:
        yield
    except InputError as error:
        raise OutputError(error.message, error.hint) from error
    except (OSError, ValueError, RuntimeError) as error:  # of a store's client, whatever it is
        raise OutputError(f"{url}: can't be written ({type(error).__name__}: {error})") from error
