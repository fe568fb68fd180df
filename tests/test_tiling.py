"""The plan of space, and putting tiles together."""

from __future__ import annotations

import functools
import itertools
import re

import jax.numpy as jnp
import numpy as np
import pytest
from random_weights import TINY, random_frames, random_tensors

from cogvae_cli.errors import UsageError
from cogvae_cli.model import tiling
from cogvae_cli.model.autoencoder import VAE
from cogvae_cli.model.config import ModelSource, TileLayout
from cogvae_cli.model.numerics import Numerics
from cogvae_cli.model.tiling import Span, Tiling
from cogvae_cli.model.vae import decode_step, encode_step

LAYOUTS = ("uniform", "reference")


def _lengths(spans: tuple[Span, ...]) -> list[int]:
    return [span.length for span in spans]


def test_the_reference_grid_is_upstreams_with_its_slivers() -> None:
    grid = Tiling.of(360, 240, "reference").grid(480, 720)
    assert [span.start for span in grid.rows] == [0, 25, 50]
    assert [span.start for span in grid.columns] == [0, 36, 72]
    assert (_lengths(grid.rows), _lengths(grid.columns)) == ([30, 30, 10], [45, 45, 18])
    assert (grid.overlap_rows, grid.overlap_columns) == (5, 9)
    assert _lengths(Tiling.of(360, 240, "reference").grid(408, 720).rows) == [30, 26, 1]


def test_uniform_tiles_are_equal_and_none_hangs_over() -> None:
    grid = Tiling.of(360, 240).grid(480, 720)
    assert set(_lengths(grid.rows)) == {30}
    assert set(_lengths(grid.columns)) == {45}
    assert [span.start for span in grid.rows] == [0, 15, 30]
    assert [span.start for span in grid.columns] == [0, 22, 45]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("height", [64, 104, 240, 248, 408, 480, 1080])
def test_every_latent_is_covered_and_neighbours_overlap_as_asked(layout: str, height: int) -> None:
    grid = Tiling.of(160, 240, layout).grid(height, 720)
    for spans, length, overlap in ((grid.rows, height // 8, 5), (grid.columns, 90, 4)):
        assert spans[0].start == 0
        assert spans[-1].start + spans[-1].length == length
        for before, after in itertools.pairwise(spans):
            shared = before.start + before.length - after.start
            assert shared >= min(overlap, after.length)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_frame_that_fits_in_one_tile_is_computed_whole(layout: str) -> None:
    assert Tiling.of(360, 240, layout).grid(240, 360) is None
    assert Tiling.of(360, 240, layout).grid(248, 8) is not None


@pytest.mark.parametrize(
    ("arguments", "said", "cure"),
    [
        ((256, 256, "reference"), "256 px overlaps by 42.7 px, no multiple of 8", "240 or 288"),
        ((256, 240, "reference"), "256 px overlaps by 51.2 px, no multiple of 8", "240 or 280"),
        ((360, 244, "uniform"), "tile height of 244 px is no multiple of 8", "240 or 248"),
        ((4, 240, "uniform"), "tile width of 4 px is no multiple of 8", "take 8"),
    ],
)
def test_geometry_that_would_give_wrong_sizes_is_refused_with_the_nearest_right_values(
    arguments: tuple, said: str, cure: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        Tiling.of(*arguments)
    assert cure in caught.value.hint


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scale", [1, 8])
def test_tiles_cut_from_a_picture_make_the_picture(layout: str, scale: int) -> None:
    whole = jnp.asarray(np.random.default_rng(3).standard_normal((1, 2, 13 * scale, 27 * scale, 2), dtype=np.float32))
    grid = Tiling.of(80, 48, layout).grid(13 * 8, 27 * 8)
    assert len(grid.rows) >= 2
    assert len(grid.columns) >= 3
    tiles, _ = tiling.run(lambda part, cache: (part, cache), whole, None, grid, scale)
    again = tiling.assemble(tiles, grid=grid, scale=scale)
    np.testing.assert_allclose(again, whole, atol=2e-6)  # measured 5e-7


@pytest.mark.parametrize("overlap", [None, 304], ids=["a fifth", "more than half"])
def test_uniform_weights_are_smooth_and_add_up_to_one(overlap: int | None) -> None:
    tiles = Tiling.of(360, 240) if overlap is None else Tiling(240, 360, 160, overlap)
    spans = tiles.grid(480, 720).columns
    total = np.zeros(720)
    for span, weight in zip(spans, tiling._weights(spans, 8), strict=True):
        assert weight.min() >= 0
        assert np.abs(np.diff(weight)).max() < 1.6 / (0.3 * 72)  # the overlap is 72 px or more, 30 % of it fade
        assert np.abs(np.diff(weight, 2)).max() < 8 / (0.3 * 72) ** 2  # no kink: a linear fade has 1 / (0.3 * 72)
        assert span.start == 0 or not weight[:24].any()  # nothing of what met zeros at the tile's edge
        total[span.start * 8 : (span.start + span.length) * 8] += weight
    np.testing.assert_allclose(total, 1, atol=2e-7)  # measured 3e-8


def _vae(layout: TileLayout) -> VAE:
    source = ModelSource("random", None, "0" * 64, ())
    vae = VAE(TINY, _tensors(), source, encode=Numerics(), decode=Numerics())
    return vae.tiled(Tiling.of(40, 48, layout))


@functools.cache
def _tensors() -> dict[str, np.ndarray]:
    return random_tensors(TINY)


@pytest.mark.long
def test_uniform_tiles_of_any_number_compile_two_programs_a_direction() -> None:
    encode_step.clear_cache()
    decode_step.clear_cache()
    vae = _vae("uniform")
    for height, count in ((96, 17), (88, 25)):
        frames = random_frames(count, height, 72)
        posterior = vae.encode(frames)
        assert posterior.mean.shape == (1, (count + 3) // 4, height // 8, 9, 16)
        decoded = vae.decode(posterior.mean)
        assert decoded.shape == frames.shape
    assert (encode_step._cache_size(), decode_step._cache_size()) == (2, 2)


def test_tiles_stream_with_a_cache_of_their_own() -> None:
    vae = _vae("uniform")
    frames = random_frames(17, 96, 72)  # the programs of the test before
    whole = vae.encode(frames)
    parts = list(vae.encode_stream(np.split(frames, [5, 12], axis=1)))
    np.testing.assert_array_equal(np.concatenate([part.mean for part in parts], axis=1), whole.mean)
