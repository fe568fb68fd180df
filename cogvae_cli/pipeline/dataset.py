"""Reading what a batch wrote, in any order: for a loop, torch's DataLoader or grain; it needs neither."""

from __future__ import annotations

import array
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cogvae_cli.errors import CogvaeError, InputError
from cogvae_cli.io.latents_header import LatentsHeader


@dataclass(frozen=True)
class Sample:
    """One clip of a data set."""

    key: str
    """The output's place below the folder."""
    arrays: dict[str, np.ndarray]
    """float32 [T H W C]: `latents`, or `mean` and `logvar`."""
    header: LatentsHeader
    columns: dict[str, Any]
    """Of the table that named the clip."""

    @property
    def latents(self) -> np.ndarray:
        """float32 [T H W C], as stored: times the scaling factor if `header.scaled`. Of moments, the mean."""
        return self.arrays["latents"] if "latents" in self.arrays else self.arrays["mean"]


class LatentDataset:
    """The clips that a batch of `cogvae encode` made into a folder, as files or in tar shards.

    A map-style data set: `len(data)`, `data[i]`, iteration in the manifest's order. It holds about 10 bytes a clip and
    no open file, so that it can be pickled and forked. Reading a sample checks its sha256.
    Raises InputError for a folder without a manifest, LatentsError for a sample that is missing or damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._manifests = sorted(self.folder.glob("manifest*.jsonl"))
        if not self._manifests:
            raise InputError(f"{folder}: holds no manifest.jsonl", "give the --out-dir of cogvae encode")
        self._files, self._offsets = _places(self._manifests)

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, index: int) -> Sample:
        from cogvae_cli.io.latents import read_latents
        from cogvae_cli.io.tar_shards import open_sample

        row = self.row(index)
        path = self.folder / row["output"]
        try:
            found = read_latents(path, open_sample(self.folder, row) if "shard" in row else None)
        except OSError as error:
            raise InputError(f"{path}: its shard can't be read ({error.strerror})") from error
        return Sample(row["output"], found.arrays, found.header, row.get("columns") or {})

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def row(self, index: int) -> dict[str, Any]:
        """What the manifest says of a clip, without reading its latents: frames, shape, source, columns."""
        place = range(len(self))[index]  # IndexError, and what negative numbers mean, as of any sequence
        with self._manifests[self._files[place]].open("rb") as file:
            file.seek(int(self._offsets[place]))
            row: dict[str, Any] = json.loads(file.readline())
        return row

    def check(self) -> Iterator[str]:
        """Reads all samples; gives a line for each that is missing or damaged."""
        for index in range(len(self)):
            try:
                self[index]
            except CogvaeError as error:
                yield error.message


def _places(manifests: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Of the rows that hold and tell of latents: the numbers of their manifests, and where in them they begin."""
    from cogvae_cli.io.manifest import row_hash, rows_and_offsets

    keys, files, offsets, done = (array.array(kind) for kind in "QHQB")
    for number, path in enumerate(manifests):
        for row, offset in rows_and_offsets(path):
            keys.append(row_hash(row["output"]))
            files.append(number)
            offsets.append(offset)
            done.append(row.get("status") == "done" and row.get("kind") == "encode")
    order = np.argsort(np.array(keys, np.uint64), kind="stable")
    sorted_keys = np.array(keys, np.uint64)[order]
    is_last = np.append(sorted_keys[1:] != sorted_keys[:-1], True) if len(order) else np.zeros(0, bool)
    places = np.sort(order[is_last])
    places = places[np.array(done, bool)[places]]
    return np.array(files, np.uint16)[places], np.array(offsets, np.uint64)[places]
