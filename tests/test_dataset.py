"""Data sets for trainers: tar shards as WebDataset has them, and reading files or shards in any order."""

from __future__ import annotations

import json
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from latents_samples import HEADER, MOMENTS, values

from cogvae_cli import LatentDataset
from cogvae_cli.errors import InputError, LatentsError, UsageError
from cogvae_cli.io.fingerprint import sha256_of
from cogvae_cli.io.latents import LatentsWriter
from cogvae_cli.io.latents_header import MEMBERS, LatentsHeader
from cogvae_cli.io.manifest import Manifest
from cogvae_cli.io.tar_shards import ShardLimit, ShardWriter, key_of, read_sample

NAMES = ("a/one.npz", "a/two.v2.npz", "b/one.npz", "b/été.npz", "c.npz")


def write_file(path: Path, rng: np.random.Generator, header: LatentsHeader = HEADER) -> dict[str, np.ndarray]:
    """A latents file; gives its values as they are stored."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = values(rng, header)
    with LatentsWriter(path, path.suffix[1:], header.dtype, MEMBERS[header.posterior]) as writer:
        writer.append(arrays)
        writer.finish(header)
    return arrays


def row_of(name: str, path: Path, status: str = "done") -> dict[str, object]:
    base = {"kind": "encode", "status": status, "output": name, "columns": {"caption": f"of {name}"}}
    return base | {"output_bytes": path.stat().st_size, "sha256": sha256_of(path)}


@pytest.fixture
def files(tmp_path, rng) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder of latents with a manifest, as a batch leaves it, and the values by name."""
    folder, stored = tmp_path / "files", {}
    folder.mkdir()
    with Manifest(folder / "manifest.jsonl") as manifest:
        for name in NAMES:
            stored[name] = write_file(folder / name, rng)["latents"]
            manifest.append(row_of(name, folder / name))
        manifest.append({"kind": "encode", "status": "failed", "output": "bad.npz"})
    return folder, stored


def pack(source: Path, folder: Path, limit: ShardLimit, names: tuple[str, ...] = NAMES) -> None:
    """Goes on packing files into shards, as a batch does."""
    folder.mkdir(exist_ok=True)
    with Manifest(folder / "manifest.jsonl") as manifest, ShardWriter(manifest, limit) as shards:
        for name in names:
            made = Path(shutil.copy(source / name, folder / "made.npz"))
            row = row_of(name, made)
            manifest.append(row | shards.add(made, row))
            made.unlink()


def members_of(folder: Path) -> dict[str, list[str]]:
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            found[path.name] = tar.getnames()
    return found


def test_samples_of_files_come_in_any_order(files):
    folder, stored = files
    data = LatentDataset(folder)
    assert len(data) == len(NAMES)
    for index in (3, 0, -1, 4):
        sample = data[index]
        assert sample.key == NAMES[index]
        np.testing.assert_array_equal(sample.latents, stored[NAMES[index]])
        assert sample.columns == {"caption": f"of {NAMES[index]}"}
        assert sample.header.frames.count == HEADER.frames.count
    assert [sample.key for sample in data] == list(NAMES)
    with pytest.raises(IndexError):
        data[5]


def test_samples_of_shards_are_those_of_the_files(files, tmp_path):
    folder, stored = files
    pack(folder, tmp_path / "shards", ShardLimit(samples=2))
    data = LatentDataset(tmp_path / "shards")
    assert [sample.key for sample in data] == list(NAMES)
    for sample in data:
        np.testing.assert_array_equal(sample.latents, stored[sample.key])


def test_a_data_set_can_be_sent_to_another_process(files):
    folder, stored = files
    data = pickle.loads(pickle.dumps(LatentDataset(folder)))
    np.testing.assert_array_equal(data[2].latents, stored[NAMES[2]])


def test_moments_give_their_mean(tmp_path, rng):
    with Manifest(tmp_path / "manifest.jsonl") as manifest:
        arrays = write_file(tmp_path / "m.safetensors", rng, MOMENTS)
        manifest.append(row_of("m.safetensors", tmp_path / "m.safetensors"))
    sample = LatentDataset(tmp_path)[0]
    assert set(sample.arrays) == {"mean", "logvar"}
    np.testing.assert_allclose(sample.latents, arrays["mean"], atol=2e-3)


def test_a_damaged_and_a_missing_sample_are_told_by_a_check(files):
    folder, _ = files
    data = bytearray((folder / NAMES[1]).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / NAMES[1]).write_bytes(data)
    (folder / NAMES[4]).unlink()
    found = list(LatentDataset(folder).check())
    assert len(found) == 2
    assert NAMES[1] in found[0]
    assert NAMES[4] in found[1]
    with pytest.raises(LatentsError):
        LatentDataset(folder)[1]


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no manifest\.jsonl"):
        LatentDataset(tmp_path)


def test_the_rows_of_shards_of_a_batch_count_once(files):
    folder, _ = files
    row = LatentDataset(folder).row(0)
    with Manifest(folder / "manifest-0-of-2.jsonl") as manifest:
        manifest.append(row)
    assert len(LatentDataset(folder)) == len(NAMES)


def test_a_shard_holds_a_file_and_its_row_a_sample(files, tmp_path):
    folder, _ = files
    pack(folder, tmp_path / "shards", ShardLimit(samples=2))
    assert members_of(tmp_path / "shards") == {
        "shard-000000.tar": ["a/one.npz", "a/one.json", "a/two%2Ev2.npz", "a/two%2Ev2.json"],
        "shard-000001.tar": ["b/one.npz", "b/one.json", "b/été.npz", "b/été.json"],
        "shard-000002.tar": ["c.npz", "c.json"],
    }
    with tarfile.open(tmp_path / "shards/shard-000001.tar") as tar:
        assert tar.extractfile("b/été.npz").read() == (folder / "b/été.npz").read_bytes()
        assert json.load(tar.extractfile("b/été.json"))["columns"] == {"caption": "of b/été.npz"}


def test_a_shard_is_no_larger_than_its_bound(files, tmp_path):
    folder, _ = files
    size = (folder / NAMES[0]).stat().st_size
    pack(folder, tmp_path / "shards", ShardLimit(size=2 * size + 7500))
    sizes = [path.stat().st_size for path in sorted((tmp_path / "shards").glob("*.tar"))]
    assert len(sizes) == 3
    assert max(sizes) <= 2 * size + 7500


def test_packing_goes_on_where_it_was_and_gives_the_same_bytes(files, tmp_path):
    folder, _ = files
    pack(folder, tmp_path / "once", ShardLimit(samples=3))
    for first, last in ((0, 2), (2, 3), (3, 5)):
        pack(folder, tmp_path / "parts", ShardLimit(samples=3), NAMES[first:last])
    for name in ("shard-000000.tar", "shard-000001.tar"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_what_was_written_behind_the_last_row_is_cut_off(done, files, tmp_path):
    """As a process leaves it that is killed between a sample and its row."""
    folder, _ = files
    out = tmp_path / "shards"
    pack(folder, out, ShardLimit(samples=2), NAMES[:done])
    with Manifest(out / "manifest.jsonl") as manifest, ShardWriter(manifest, ShardLimit(samples=2)) as shards:
        made = Path(shutil.copy(folder / NAMES[4], out / "made.npz"))
        shards.add(made, row_of(NAMES[4], made))
        made.unlink()
    pack(folder, out, ShardLimit(samples=2), NAMES[done:])
    pack(folder, tmp_path / "once", ShardLimit(samples=2))
    assert members_of(out) == members_of(tmp_path / "once")
    assert [sample.key for sample in LatentDataset(out)] == list(NAMES)
    assert not list(LatentDataset(out).check())


def test_a_row_says_where_its_sample_is(files, tmp_path):
    folder, _ = files
    pack(folder, tmp_path / "shards", ShardLimit(samples=10))
    data = LatentDataset(tmp_path / "shards")
    for index, name in enumerate(NAMES):
        assert read_sample(tmp_path / "shards", data.row(index)) == (folder / name).read_bytes()


def test_keys_have_no_dot_and_stay_different():
    assert [key_of(name) for name in ("a.b/c.d.npz", "a.b/c%2Ed.npz")] == ["a.b/c%2Ed", "a.b/c%252Ed"]


@pytest.mark.parametrize("text", ["0", "1.5GB", "GB", "10 MB", "-1", "1TB"])
def test_a_bound_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="no bound of a shard"):
        ShardLimit.parse(text)


def test_bounds_are_counts_or_sizes():
    assert ShardLimit.parse("1000") == ShardLimit(samples=1000)
    assert ShardLimit.parse("2GB") == ShardLimit(size=2 * 10**9)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:os.fork")  # JAX's, if it has run here before; the other process doesn't use it
def test_torch_loads_batches_in_other_processes(files):
    import torch

    folder, stored = files

    def collate(samples):
        return torch.stack([torch.from_numpy(sample.latents).permute(3, 0, 1, 2) for sample in samples])

    loader = torch.utils.data.DataLoader(LatentDataset(folder), batch_size=2, num_workers=1, collate_fn=collate)
    batches = list(loader)
    assert [tuple(batch.shape) for batch in batches] == [(2, 16, 5, 4, 6), (2, 16, 5, 4, 6), (1, 16, 5, 4, 6)]
    np.testing.assert_array_equal(batches[1][0].permute(1, 2, 3, 0).numpy(), stored[NAMES[2]])
