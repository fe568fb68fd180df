"""How far bfloat16 and float16 are from float32, for encoding and decoding apart; writes the table of docs/numerics.md.

`tiny` sees 17 frames of the built-in clip; the full network has random weights (tests/random_weights.py) and sees a
crop of the same frames. Decoding starts from the float32 latents.

    python tools/precision_study.py            prints the table
    python tools/precision_study.py --write    also writes it into docs/numerics.md
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from random_weights import FULL, random_tensors  # noqa: E402  the tests folder is no package

import cogvae_cli as cogvae  # noqa: E402
from cogvae_cli.io.video_reader import VideoReader  # noqa: E402
from cogvae_cli.model.autoencoder import VAE  # noqa: E402
from cogvae_cli.model.chunks import decode_plan, encode_plan  # noqa: E402
from cogvae_cli.model.config import ModelSource  # noqa: E402
from cogvae_cli.model.numerics import Numerics  # noqa: E402

DOCS = ROOT / "docs" / "numerics.md"
START, END = "<!-- precision -->\n", "<!-- end of precision -->"
FRAMES = 17


@dataclasses.dataclass(frozen=True)
class Network:
    """A network to study, in each dtype, and what it is shown."""

    name: str
    frames: np.ndarray

    def vae(self, dtype: str) -> VAE:
        """The network computing in that dtype."""
        if self.name == "tiny":
            return cogvae.load("tiny", dtype=dtype)
        source = ModelSource("random", None, "0" * 64, ())
        return VAE(FULL, random_tensors(FULL), source, encode=Numerics(dtype), decode=Numerics(dtype))


def clip() -> np.ndarray:
    """[1 T 272 480 3] in [-1, 1]: the first frames of the built-in clip."""
    path = importlib.resources.files("cogvae_cli") / "assets" / "clips" / "city_cc0_480x272_49f.mp4"
    with importlib.resources.as_file(path) as file, VideoReader(file) as reader:
        frames = [frame for frame, _ in zip(reader.frames(), range(FRAMES), strict=False)]
    return (np.stack(frames).astype(np.float32) / 127.5 - 1)[None]


def compare(direction: str, half: np.ndarray, exact: np.ndarray) -> str:
    """PSNR against the range of the float32 values, largest error, and the share of values that are NaN or Inf."""
    finite = np.isfinite(half)
    lost = f"{1 - finite.mean():.2%}"
    if not finite.any():
        return f"| {direction} | - | - | {lost} |"
    error, span = np.abs(half - exact)[finite], np.ptp(exact)
    psnr = 10 * np.log10(span**2 / np.mean(np.square(error)))
    return f"| {direction} | {psnr:.1f} dB | {error.max():.3g} of {span:.3g} | {lost} |"


def encoded(vae: VAE, frames: np.ndarray) -> np.ndarray:
    """The mean of frames [1 T H W 3], NaN and Inf too, which the public method refuses."""
    caches, parts = None, []
    for chunk in np.split(frames, np.cumsum(encode_plan(frames.shape[1]))[:-1], axis=1):
        part, caches = vae.encode_chunk(chunk, caches)
        parts.append(np.asarray(part.mean))
    return np.concatenate(parts, axis=1)


def decoded(vae: VAE, latents: np.ndarray) -> np.ndarray:
    """The frames of latents [1 t h w 16], NaN and Inf too."""
    caches, parts = None, []
    for chunk in np.split(latents, np.cumsum(decode_plan(latents.shape[1]))[:-1], axis=1):
        part, caches = vae.decode_chunk(chunk, caches, pixels=False)
        parts.append(np.asarray(part.frames))
    return np.concatenate(parts, axis=1)


def study(network: Network) -> list[str]:
    """The rows of one network."""
    exact = network.vae("float32")
    latents = encoded(exact, network.frames)
    frames = decoded(exact, latents)
    rows = []
    for dtype in ("bfloat16", "float16"):
        half = network.vae(dtype)
        rows.append(f"| {network.name} | {dtype} " + compare("encode", encoded(half, network.frames), latents))
        rows.append(f"| {network.name} | {dtype} " + compare("decode", decoded(half, latents), frames))
        print("\n".join(rows[-2:]), flush=True)
    return rows


def main() -> None:
    """Runs both networks."""
    natural = clip()
    networks = [Network("tiny", natural), Network("full size, random weights", natural[:, :, 100:164, 200:264])]
    rows = [
        "| network | dtype | direction | PSNR to float32 | largest error of range | NaN or Inf |",
        "|---|---|---|---|---|---|",
    ]
    for network in networks:
        rows += study(network)
    if "--write" in sys.argv[1:]:
        before, after = DOCS.read_text().split(START)[0], DOCS.read_text().split(END)[1]
        DOCS.write_text(before + START + "\n".join(rows) + "\n" + END + after)


if __name__ == "__main__":
    main()
