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
from collections.abc import Callable

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from random_weights import FULL, random_tensors  # noqa: E402  the tests folder is no package

import cogvae_cli as cogvae  # noqa: E402
from cogvae_cli.errors import NonFiniteError  # noqa: E402
from cogvae_cli.io.video_reader import VideoReader  # noqa: E402
from cogvae_cli.model.autoencoder import VAE  # noqa: E402
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


def compare(direction: str, half: np.ndarray | None, exact: np.ndarray) -> str:
    """PSNR against the range of the float32 values, largest error, and whether NaN or Inf came up."""
    if half is None:
        return f"| {direction} | - | - | some |"
    error, span = np.abs(half - exact), np.ptp(exact)
    psnr = 10 * np.log10(span**2 / np.mean(np.square(error)))
    return f"| {direction} | {psnr:.1f} dB | {error.max():.3g} of {span:.3g} | none |"


def attempt(function: Callable[[np.ndarray], object], array: np.ndarray) -> np.ndarray | None:
    """The result, or None if it held NaN or Inf."""
    try:
        return np.asarray(function(array))
    except NonFiniteError:
        return None


def study(network: Network) -> list[str]:
    """The rows of one network."""
    exact = network.vae("float32")
    latents = np.asarray(exact.encode(network.frames).mean)
    frames = np.asarray(exact.decode(latents))
    rows = []
    for dtype in ("bfloat16", "float16"):
        half = network.vae(dtype)
        mean = attempt(lambda x, half=half: half.encode(x).mean, network.frames)
        rows.append(f"| {network.name} | {dtype} " + compare("encode", mean, latents))
        rows.append(f"| {network.name} | {dtype} " + compare("decode", attempt(half.decode, latents), frames))
        print("\n".join(rows[-2:]), flush=True)
    return rows


def main() -> None:
    """Runs both networks."""
    natural = clip()
    networks = [Network("tiny", natural), Network("full size, random weights", natural[:, :, 100:164, 200:264])]
    rows = [
        "| network | dtype | direction | PSNR to float32 | largest error of range | NaN |",
        "|---|---|---|---|---|---|",
    ]
    for network in networks:
        rows += study(network)
    if "--write" in sys.argv[1:]:
        before, after = DOCS.read_text().split(START)[0], DOCS.read_text().split(END)[1]
        DOCS.write_text(before + START + "\n".join(rows) + "\n" + END + after)


if __name__ == "__main__":
    main()
