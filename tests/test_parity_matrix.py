"""Ours against diffusers over lengths, sizes, tiles and weights files; the errors stand in docs/numerics.md.

pytest -m parity tests/test_parity_matrix.py                           holds today's errors to the table
WRITE_DOCS=1 pytest -n0 -m parity tests/test_parity_matrix.py   writes the table anew
"""

from __future__ import annotations

import functools
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from goldens import TILES
from random_weights import TINY, random_frames, random_latents, random_tensors

from cogvae_cli import load
from cogvae_cli.model.autoencoder import VAE
from cogvae_cli.model.chunks import latents_of

pytestmark = [pytest.mark.parity, pytest.mark.long]

DOCS = Path(__file__).parents[1] / "docs" / "numerics.md"
BOUND = 1e-5
LENGTHS = (1, 2, 5, 8, 9, 13, 16, 17, 25)
SIZES = ((64, 64), (104, 72), (80, 48))
"""Width and height."""
DTYPES = ("float32", "float16", "bfloat16")
NAMES = ("mean", "logvar", "decoded")
ROWS = [(size, tiled, dtype) for size in SIZES for tiled in (False, True) for dtype in DTYPES]


def _row_name(size: tuple[int, int], tiled: bool, dtype: str) -> str:
    return f"{size[0]}x{size[1]} | {'reference tiles' if tiled else 'untiled'} | {dtype}"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The random weights as diffusers' folder, one a dtype."""
    import torch
    from safetensors.torch import save_file

    made = {}
    for dtype in DTYPES:
        folder = tmp_path_factory.mktemp(dtype)
        (folder / "config.json").write_text(json.dumps(TINY.to_diffusers()))
        stored = getattr(torch, dtype)
        tensors = {key: torch.from_numpy(value).to(stored) for key, value in random_tensors(TINY).items()}
        save_file(tensors, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
        made[dtype] = folder
    return made


@functools.cache
def _ours(folder: Path, tiled: bool) -> VAE:
    return load(str(folder)).tiled(TILES if tiled else None)


@functools.cache
def _theirs(folder: Path, tiled: bool):
    import torch
    from diffusers import AutoencoderKLCogVideoX
    from reference import tile

    vae = AutoencoderKLCogVideoX.from_pretrained(folder, torch_dtype=torch.float32).eval()
    if tiled:
        tile(vae, TILES)
    return vae


def test_the_tiles_are_at_least_two_by_three_and_one_is_a_sliver() -> None:
    grids = [TILES.grid(height, width) for width, height in SIZES]
    assert all(len(grid.rows) * len(grid.columns) >= 6 for grid in grids)
    assert min(span.length for grid in grids for span in grid.rows + grid.columns) == 1


def _recorded() -> dict[str, list[float]]:
    rows = re.findall(r"^\| (\d+x\d+ \| [\w ]+ \| \w+) \| (\S+) \| (\S+) \| (\S+) \|$", DOCS.read_text(), re.MULTILINE)
    return {name: [float(value) for value in values] for name, *values in rows}


@pytest.fixture(scope="module")
def table() -> dict[str, list[float]]:
    """Collects the rows; writes them into the docs at the end if asked to."""
    rows: dict[str, list[float]] = {}
    yield rows
    if os.environ.get("WRITE_DOCS") == "1" and len(rows) == len(ROWS):
        lines = [f"| {name} | {' | '.join(f'{value:.1e}' for value in values)} |" for name, values in rows.items()]
        head = "| size | computed | weights file | mean | logvar | decoded |\n|---|---|---|---|---|---|\n"
        text = DOCS.read_text()
        start, end = "<!-- matrix -->\n", "<!-- end of matrix -->"
        before, after = text.split(start)[0], text.split(end)[1]
        DOCS.write_text(before + start + head + "\n".join(lines) + "\n" + end + after)


def _grouped(size: tuple[int, int], tiled: bool, dtype: str):
    """Rows that share compiled programs run in one process: the tiles of all sizes but 64x64 are alike."""
    group = pytest.mark.xdist_group(f"matrix {size == (64, 64)} {tiled}")
    return pytest.param(size, tiled, dtype, id=_row_name(size, tiled, dtype), marks=group)


@pytest.mark.parametrize(("size", "tiled", "dtype"), [_grouped(*row) for row in ROWS])
def test_outputs_are_those_of_diffusers(size, tiled, dtype, folders, table) -> None:
    from reference import decode, encode

    width, height = size
    ours, theirs = _ours(folders[dtype], tiled), _theirs(folders[dtype], tiled)
    worst = dict.fromkeys(NAMES, 0.0)
    for count in LENGTHS:
        frames = random_frames(count, height, width)
        latents = random_latents(latents_of(count), height // 8, width // 8)
        expected = encode(theirs, frames) | {"decoded": decode(theirs, latents)}
        posterior = ours.encode(frames)
        got = {"mean": posterior.mean, "logvar": posterior.logvar, "decoded": ours.decode(latents)}
        for name in NAMES:
            assert expected[name].std() > 0.1
            worst[name] = max(worst[name], float(np.abs(np.asarray(got[name]) - expected[name]).max()))
    name = _row_name(size, tiled, dtype)
    table[name] = [worst[key] for key in NAMES]
    assert max(table[name]) < BOUND
    if os.environ.get("WRITE_DOCS") != "1":
        assert name in _recorded(), f"docs/numerics.md has no row {name}"
        for now, then in zip(table[name], _recorded()[name], strict=True):
            assert now < 10 * then, "the table in docs/numerics.md no longer holds: write it anew"
