"""Files for the trainers, against PyTorch and diffusers: they load there, and decode to the same frames as ours."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
from latents_samples import HEADER, MOMENTS, write
from random_weights import random_latents

import cogvae_cli as cogvae
from cogvae_cli.errors import LatentsError
from cogvae_cli.io.foreign import Hints, read_foreign
from cogvae_cli.io.foreign_layout import FORMATS
from cogvae_cli.io.latents import read_latents
from cogvae_cli.pipeline.convert import convert_file
from cogvae_cli.pipeline.convert_plan import ConvertOptions
from cogvae_cli.pipeline.importing import ImportOptions

pytestmark = pytest.mark.parity

BOUND = 1e-5
"""Largest absolute error of a frame in [-1, 1]. Measured: 2.6e-6."""

SHAPE = (5, 4, 6, 16)


@functools.cache
def _ours():
    return cogvae.load("tiny")


@functools.cache
def _theirs():
    from reference import reference_vae

    from cogvae_cli.io import hub, weights

    files = hub.find_model("tiny")
    return reference_vae(weights.read_config(files), weights.read_tensors(files))


def header(base):
    """The header of latents of `tiny`, with its true factor."""
    vae = _ours()
    return dataclasses.replace(base, dtype="float32", model=vae.source, scaling_factor=vae.scaling_factor)


def scale(dtype="float32"):
    import torch

    return torch.tensor(_ours().scaling_factor, dtype=getattr(torch, dtype))


def as_the_demo(loaded):
    """CogVideo's demo hands the loaded tensor to decode as it is."""
    return loaded


def as_factory(loaded):
    """cogvideox-factory: a batch of moments, a sample of them, times the factor, [B F C H W]; undone for decoding."""
    import torch
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

    sample = DiagonalGaussianDistribution(loaded[None]).sample(torch.Generator().manual_seed(1)) * scale()
    return (sample.permute(0, 2, 1, 3, 4)).permute(0, 2, 1, 3, 4) / scale()


def as_finetrainers(loaded):
    """finetrainers: the same from a dict whose moments are [B F C H W], their channels split along axis 2."""
    return as_factory(loaded["latents"][0].permute(1, 0, 2, 3))


def as_diffusers(loaded):
    """A pipeline's decode_latents: [B F C H W], divided by the factor."""
    return loaded.permute(0, 2, 1, 3, 4) / scale()


READERS = {
    "cogvideo": as_the_demo,
    "cogvideox-factory": as_factory,
    "finetrainers": as_finetrainers,
    "diffusers": as_diffusers,
}


@pytest.mark.parametrize("program", READERS)
@pytest.mark.parametrize("posterior", ["mean", "moments"])
def test_what_is_written_for_a_program_decodes_there_to_our_frames(tmp_path, program, posterior):
    import torch

    mean = random_latents(*SHAPE[:3])[0]
    certain = {"mean": mean, "logvar": np.full_like(mean, -30)}  # so that the trainer's sample is the mean
    base, arrays = (HEADER, {"latents": mean}) if posterior == "mean" else (MOMENTS, certain)
    own = write(tmp_path / "own.npz", header(base), arrays)
    convert_file(own, tmp_path / "z.pt", options=ConvertOptions(ImportOptions(format=program)))
    loaded = torch.load(tmp_path / "z.pt", weights_only=True, map_location="cpu")
    with torch.no_grad():
        theirs = _theirs().decode(READERS[program](loaded)).sample.permute(0, 2, 3, 4, 1).numpy()
    assert np.abs(theirs - np.asarray(_ours().decode(mean[None]))).max() < BOUND


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("layout", ["BCTHW", "TCHW", "THWC"])
def test_pytorch_loads_every_dtype_and_layout_that_is_written(tmp_path, rng, dtype, layout):
    import torch

    latents = rng.normal(size=SHAPE).astype(np.float16).astype(np.float32)
    own = write(tmp_path / "own.npz", header(HEADER), {"latents": latents})
    convert_file(own, tmp_path / "z.pt", options=ConvertOptions(ImportOptions(layout=layout), dtype=dtype))
    loaded = torch.load(tmp_path / "z.pt", weights_only=True)
    assert loaded.dtype == getattr(torch, dtype)
    assert torch.equal(loaded, torch.load(tmp_path / "z.pt", weights_only=True, mmap=True))
    expected = torch.from_numpy(latents).to(loaded.dtype)
    axes = [letter for letter in layout if letter != "B"]
    moved = (loaded[0] if layout.startswith("B") else loaded).permute([axes.index(axis) for axis in "THWC"])
    assert torch.equal(moved, expected)


def saved_forms(latents):
    """What the programs save of [T H W C] latents, by their own calls of torch.save: name -> (value, hints)."""
    import torch

    values = torch.from_numpy(latents).permute(3, 0, 1, 2)  # a view, [C T H W]
    batch = torch.cat([values[None], -values[None]])
    moments = torch.cat([values, values - 40])
    return {
        "the demo": (values[None].contiguous(), Hints("cogvideo")),
        "a view": (values[None], Hints("cogvideo")),
        "a slice of a batch": (batch[:1], Hints("cogvideo")),
        "the second of a batch, cloned": (-batch[1].clone(), Hints(layout="CTHW")),
        "a pipeline's latents": (values[None].permute(0, 2, 1, 3, 4), Hints("diffusers")),
        "moments of the factory": (moments.clone(), Hints("cogvideox-factory")),
        "moments of finetrainers": ({"latents": moments[None].permute(0, 2, 1, 3, 4)}, Hints("finetrainers")),
        "a dict with more in it": ({"fps": 8, "latents": values, "prompt": "a cat", "ids": torch.arange(3)}, Hints()),
        "a shared storage": ({"latents": values, "first": values[:, :1]}, Hints()),
    }


def cast(value, dtype):
    """The float tensors of a value, by itself or in a dict, in that dtype."""
    import torch

    if isinstance(value, dict):
        return {key: cast(one, dtype) for key, one in value.items()}
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.to(getattr(torch, dtype))
    return value


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_what_pytorch_saves_is_read_by_us_without_it(tmp_path, rng, dtype):
    import torch

    latents = rng.normal(size=SHAPE).astype(np.float32)
    expected = torch.from_numpy(latents).to(getattr(torch, dtype)).float().numpy()
    for name, (value, hints) in saved_forms(latents).items():
        torch.save(cast(value, dtype), tmp_path / "vidéo.pt")
        found = read_foreign(tmp_path / "vidéo.pt", hints)
        mean = found.arrays["mean" if "moments" in name else "latents"]
        np.testing.assert_array_equal(mean, expected, err_msg=name)
        assert found.dtype == ("float32" if dtype == "float64" else dtype)
        if "moments" in name:
            assert found.arrays["logvar"].min() == -30


def test_a_file_without_check_sums_is_read(tmp_path, rng):
    import torch

    latents = torch.from_numpy(rng.normal(size=(1, 16, 5, 4, 6)).astype(np.float32))
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(latents, tmp_path / "z.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    read = read_foreign(tmp_path / "z.pt", Hints()).arrays["latents"]
    np.testing.assert_array_equal(read, latents[0].permute(1, 2, 3, 0).numpy())


def test_the_form_before_1_6_and_lazily_negated_tensors_are_refused(tmp_path, rng):
    import torch

    values = torch.from_numpy(rng.normal(size=(16, 5, 4, 6)).astype(np.float32))
    torch.save(values, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    torch.save(torch._neg_view(values), tmp_path / "negated.pt")
    for name, says in (("old", "before PyTorch 1.6"), ("negated", "rebuilds a tensor from something else")):
        with pytest.raises(LatentsError, match=says):
            read_foreign(tmp_path / f"{name}.pt", Hints())
    torch.save(torch.load(tmp_path / "old.pt", weights_only=True), tmp_path / "new.pt")  # what the hint says
    assert read_foreign(tmp_path / "new.pt", Hints()).arrays["latents"].shape == SHAPE


@pytest.mark.parametrize("program", FORMATS)
def test_a_program_may_save_again_what_it_loaded_from_us(tmp_path, rng, program):
    import torch

    latents = rng.normal(size=SHAPE).astype(np.float32)
    own = write(tmp_path / "own.npz", header(HEADER), {"latents": latents})
    about = ImportOptions(format=program)
    convert_file(own, tmp_path / "z.pt", options=ConvertOptions(about))
    torch.save(torch.load(tmp_path / "z.pt", weights_only=True), tmp_path / "again.pt")
    again = ConvertOptions(dataclasses.replace(about, rate="8"))
    convert_file(tmp_path / "again.pt", tmp_path / "back.npz", model="tiny", options=again)
    back = read_latents(tmp_path / "back.npz")
    factor = np.float32(back.header.scaling_factor if back.header.scaled else 1)
    np.testing.assert_allclose(back.arrays["mean" if "mean" in back.arrays else "latents"] / factor, latents, rtol=1e-6)
