"""Tiles chosen by the tool: what fits is found, a real shortage of memory starts the clip again, once."""

from __future__ import annotations

import itertools

import jax
import pytest
from media import write_numbered
from random_weights import FULL

from cogvae_cli import encode_file, load
from cogvae_cli.errors import DeviceMemoryError
from cogvae_cli.io.latents import read_latents
from cogvae_cli.model.form import Form
from cogvae_cli.model.numerics import Numerics
from cogvae_cli.pipeline import tile_choice
from cogvae_cli.pipeline.encode import EncodeOptions
from cogvae_cli.pipeline.options import TileOptions
from cogvae_cli.pipeline.progress import Notices, Progress
from cogvae_cli.pipeline.tile_choice import Budget, TileChoice, tilings, total

LENGTHS: tile_choice.Lengths = {"encoder": (9, 8)}
BF16 = Form.of(FULL, Numerics("bfloat16"), Numerics("bfloat16"), in_strips=True)


def choice(size: tuple[int, int], gigabytes: float, form: Form = BF16) -> TileChoice:
    return TileChoice(form, size, LENGTHS, Budget(int(gigabytes * 1e9), "tpu"))


@pytest.mark.parametrize("size", [(480, 720), (768, 1360), (272, 480), (72, 2000), (64, 64)])
def test_tiles_come_fewest_first_and_each_covers_the_frame(size: tuple[int, int]) -> None:
    counts = []
    for tiling in tilings(*size):
        grid = tiling.grid(*size)
        assert grid is not None
        counts.append(len(grid.rows) * len(grid.columns))
        for spans, length in ((grid.rows, size[0] // 8), (grid.columns, size[1] // 8)):
            assert spans[0].start == 0
            assert spans[-1].start + spans[-1].length == length
            assert all(a.start + a.length >= b.start for a, b in itertools.pairwise(spans))
    assert counts == sorted(counts)
    assert 1 not in counts


def test_whole_frames_are_taken_where_they_fit_and_the_fewest_tiles_where_not() -> None:
    whole = choice((480, 720), 32).next()
    assert whole is not None
    assert whole.tiling is None
    chooser = choice((480, 720), 4.5)
    tiled = chooser.next()
    assert tiled is not None
    assert tiled.tiling is not None
    assert total(chooser.estimate(tiled)) <= 4.5e9 < total(chooser.estimate(BF16))
    fewer = [BF16.tiled(tiling) for tiling in tilings(480, 720)]
    fewer = fewer[: fewer.index(tiled)]
    assert all(total(chooser.estimate(form)) > 4.5e9 for form in fewer)


def test_what_fits_nowhere_is_refused() -> None:
    with pytest.raises(DeviceMemoryError, match=r"720x480 doesn't fit into 0\.1 GB, in any tiles"):
        choice((480, 720), 0.1).run(load("tiny"), lambda vae, check: None, Notices(Progress()))


def test_the_compiler_has_the_last_word_before_the_first_frame() -> None:
    """tiny on CPU, with a budget between what its programs take whole and in tiles, by the compiler's word."""
    vae = load("tiny")
    whole = vae.prepare({"encoder": (9,)}, (64, 96))["encoder"][0].total
    chooser = TileChoice(vae.form, (64, 96), {"encoder": (9,)}, Budget(whole - 1, "cpu"))
    with pytest.raises(tile_choice.PlanTooBigError, match="96x64 takes"):
        chooser.check(vae.form, vae.prepare({"encoder": (9,)}, (64, 96)))
    TileChoice(vae.form, (64, 96), {"encoder": (9,)}, Budget(whole, "cpu")).check(
        vae.form, vae.prepare({"encoder": (9,)}, (64, 96))
    )


def test_a_plan_that_the_compiler_finds_too_big_is_made_smaller_by_as_much() -> None:
    """The compiler says half as much again as there is: what comes next is estimated at two thirds of what failed."""
    chooser, tried, told = choice((480, 720), 32), [], Told()

    def attempt(vae, check):
        tried.append(vae.form)
        if len(tried) == 1:
            raise tile_choice.PlanTooBigError("720x480 takes 48.0 GB", 1.5)
        return "done"

    # Its form alone counts here; the model never computes.
    vae = load("tiny")
    vae.form = BF16
    assert chooser.run(vae, attempt, Notices(told)) == "done"
    first, second = (total(chooser.estimate(form)) for form in tried)
    assert second <= first / 1.5
    assert tried[0].tiling is None
    width, height = tried[1].tiling.width, tried[1].tiling.height
    assert told.notices == [f"720x480 takes 48.0 GB; frames are computed in tiles of {width}x{height}"]


class Told(Progress):
    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


def test_a_device_that_runs_out_restarts_the_clip_once_with_smaller_tiles(tmp_path, monkeypatch) -> None:
    """The error that a TPU raises, at the place where it raises it: the second chunk of whole frames."""
    clip = write_numbered(tmp_path / "in.mp4", 17, (192, 128), 24)
    vae, calls = load("tiny"), []
    original = type(vae).encode_chunk

    def short(self, frames, caches):
        calls.append((self.form.tiling, caches is None))
        if self.form.tiling is None and caches is not None:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm")
        return original(self, frames, caches)

    monkeypatch.setattr(type(vae), "encode_chunk", short)
    result = encode_file(clip, tmp_path / "z.npz", model=vae)
    assert result.tiles is not None
    assert [first for _, first in calls] == [True, False, True, False]
    assert any("the clip starts again in tiles of" in notice for notice in result.notices)
    monkeypatch.undo()
    told = TileOptions(f"{result.tiles.tile_width}x{result.tiles.tile_height}")
    encode_file(clip, tmp_path / "told.npz", model=vae, options=EncodeOptions(tiles=told))
    one, other = (read_latents(tmp_path / name) for name in ("z.npz", "told.npz"))
    assert one.sha256 == other.sha256
    assert (one.header.settings["tile"], other.header.settings["tile"]) == ("auto", told.tile)


def test_a_second_shortage_is_told_and_leaves_no_file(tmp_path, monkeypatch) -> None:
    clip = write_numbered(tmp_path / "in.mp4", 9, (192, 128), 24)
    vae = load("tiny")

    def short(self, frames, caches):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm")

    monkeypatch.setattr(type(vae), "encode_chunk", short)
    with pytest.raises(DeviceMemoryError, match="the device ran out of memory at 192x128"):
        encode_file(clip, tmp_path / "z.npz", model=vae)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4"]


def test_tiles_that_were_told_are_taken_as_they_are(tmp_path) -> None:
    clip = write_numbered(tmp_path / "in.mp4", 9, (64, 48), 24)
    result = encode_file(clip, tmp_path / "z.npz", model="tiny", options=EncodeOptions(tiles=TileOptions("off")))
    assert result.tiles is None
    vae = load("tiny", tile="40x48")
    assert encode_file(clip, tmp_path / "y.npz", model=vae).tiles is not None  # the model's own
