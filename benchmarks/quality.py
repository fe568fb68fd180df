"""How good a model is: PSNR, SSIM and VMAF by clip, frame and place in the chunk, drift of colours, flat colours.

Frames go through encoder (posterior's mean) and decoder in chunks of 9, 8, 8, ..., in float32, and are compared as
8-bit RGB before any codec. A size behind a clip scales the frames until they cover it and crops what is over, half on
either side; without one they keep their own.

    python benchmarks/quality.py                                            tiny, the built-in clip
    python benchmarks/quality.py --model FOLDER cityCC0.mpg@720x400 bigbuckbunny.mp4@640x360
    python benchmarks/quality.py --frames 9 --flat 720x400 --json figures.json
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from cogvae_cli import load  # noqa: E402
from cogvae_cli.io.perceptual import Perceptual, PerceptualMeter  # noqa: E402
from cogvae_cli.io.video_reader import VideoReader  # noqa: E402
from cogvae_cli.model.autoencoder import VAE  # noqa: E402
from cogvae_cli.model.chunks import FIRST_FRAMES, FRAMES, padded  # noqa: E402
from cogvae_cli.pipeline.frames import Chunk, prepared  # noqa: E402
from cogvae_cli.pipeline.roundtrip import built_in_clip  # noqa: E402
from cogvae_cli.pipeline.video_options import ReadOptions  # noqa: E402
from cogvae_cli.report.metrics import Quality, QualityMeter, frame_errors  # noqa: E402

COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "yellow": (255, 255, 0),
    "grey 64": (64, 64, 64),
    "grey 128": (128, 128, 128),
    "grey 192": (192, 192, 192),
}

WITHIN = 8
"""Levels that a flat colour may be off by."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """One clip's figures."""

    name: str
    size: tuple[int, int]
    """Width and height."""
    quality: Quality
    perceptual: Perceptual
    shift: tuple[float, ...]
    """Mean of the result less that of the original, in levels, of R, G and B."""

    @property
    def frames(self) -> list[float]:
        """PSNR by frame; infinite where nothing differs."""
        return [float("inf") if value is None else value for value in self.quality.psnr_by_frame]

    @property
    def borders(self) -> list[float]:
        """PSNR of the last frame of each chunk and the first of the next."""
        starts = range(FIRST_FRAMES, len(self.frames), FRAMES)
        return [self.frames[frame] for start in starts for frame in (start - 1, start)]

    def by_place(self) -> list[float]:
        """Mean PSNR of each place in the later chunks, 0 to 7."""
        later = self.frames[FIRST_FRAMES:]
        return [float(np.mean(later[place::FRAMES])) for place in range(min(FRAMES, len(later)))]

    def as_dict(self) -> dict[str, Any]:
        return {
            "clip": self.name,
            "size": list(self.size),
            **self.quality.summary(),
            **dataclasses.asdict(self.perceptual),
            "shift": list(self.shift),
            "psnr_by_frame": self.quality.psnr_by_frame,
            "psnr_by_place_in_chunk": self.by_place(),
        }


def passed(vae: VAE, chunks: Iterator[Chunk]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The frames of a clip and what comes back of them, chunk by chunk, uint8 [T H W 3]."""
    coming = going = None
    for chunk in chunks:
        encoded, coming = vae.encode_chunk(chunk.frames[None], coming)
        decoded, going = vae.decode_chunk(encoded.mean, going)
        yield chunk.frames[: chunk.count], np.asarray(decoded.frames)[0, : chunk.count]


def measured(vae: VAE, text: str, frames: int) -> Measured:
    """The figures of `CLIP` or `CLIP@WIDTHxHEIGHT`."""
    name, size = named(text)
    meter, sums, pixels = QualityMeter(), np.zeros((2, 3)), 0
    with VideoReader(Path(name), ReadOptions(size=size, frames=frames)) as reader:
        width, height = reader.info.width, reader.info.height
        with PerceptualMeter(width, height) as perceptual:
            for original, result in passed(vae, prepared(reader.chunks(FIRST_FRAMES, FRAMES))):
                pair = original[:, :height, :width], result[:, :height, :width]
                perceptual.add(*pair)
                mse, ssim = frame_errors(original[None], result[None], height=height, width=width)
                meter.add(np.asarray(mse)[0], None if ssim is None else np.asarray(ssim)[0])
                sums += [part.sum(axis=(0, 1, 2), dtype=np.float64) for part in pair]
                pixels += pair[0][..., 0].size
            seen = perceptual.finish()
    shift = tuple(float(value) for value in (sums[1] - sums[0]) / pixels)
    return Measured(Path(name).name, (width, height), meter.quality(), seen, shift)


def named(text: str) -> tuple[str, tuple[int, int] | None]:
    found = re.fullmatch(r"(.+)@(\d+)x(\d+)", text)
    return (found[1], (int(found[2]), int(found[3]))) if found else (text, None)


@dataclasses.dataclass(frozen=True)
class Flat:
    """What becomes of one flat colour."""

    away: tuple[float, ...]
    """Mean of a frame less the colour, in levels, of R, G and B; of the frame where it is farthest."""
    within: float
    """Share of pixels whose channels are all within WITHIN levels."""


def flat(vae: VAE, colour: tuple[int, int, int], size: tuple[int, int], frames: int) -> Flat:
    """A clip of that colour, there and back."""
    width, height = size
    clip = np.full((padded(frames), height, width, 3), colour, np.uint8)
    cuts = itertools.pairwise([0, *range(FIRST_FRAMES, len(clip), FRAMES), len(clip)])
    chunks = (Chunk(clip[start:stop], start, stop - start) for start, stop in cuts)
    back = np.concatenate([result for _, result in passed(vae, chunks)]).astype(np.float64) - colour  # [T H W 3]
    away = back.mean(axis=(1, 2))  # [T 3]
    worst = tuple(float(values[np.abs(values).argmax()]) for values in away.T)
    return Flat(worst, float((np.abs(back) <= WITHIN).all(axis=-1).mean()))


def show(clips: list[Measured]) -> None:
    print("| clip | size | frames | PSNR | first | borders, worst | last | worst | SSIM | VMAF | shift R G B |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for clip in clips:
        frames, quality, vmaf = clip.frames, clip.quality, clip.perceptual.vmaf_mean
        borders = f"{min(clip.borders):.2f}" if clip.borders else "-"
        ssim = "-" if quality.ssim_mean is None else f"{quality.ssim_mean:.3f}"
        seen = "-" if vmaf is None else f"{vmaf:.1f}"
        figures = f"{np.mean(frames):.2f} | {frames[0]:.2f} | {borders} | {frames[-1]:.2f} | {min(frames):.2f} | {ssim}"
        shift = " ".join(f"{value:+.1f}" for value in clip.shift)
        size = "x".join(map(str, clip.size))
        print(f"| {clip.name} | {size} | {len(frames)} | {figures} | {seen} | {shift} |")
    print("\n| clip | PSNR by place in a later chunk, 0 to 7 |\n|---|---|")
    for clip in clips:
        print(f"| {clip.name} | {' '.join(f'{value:.2f}' for value in clip.by_place())} |")
    for clip in clips:
        if clip.perceptual.reason is not None:
            print(f"{clip.name}: {clip.perceptual.reason}", file=sys.stderr)


def show_flat(colours: dict[str, Flat]) -> None:
    print(f"\n| flat colour | frames off by, at most, R G B | pixels within {WITHIN} levels |\n|---|---|---|")
    for name, found in colours.items():
        print(f"| {name} | {' '.join(f'{value:+.1f}' for value in found.away)} | {100 * found.within:.1f} % |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", metavar="CLIP[@WIDTHxHEIGHT]")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--frames", type=int, default=49, help="of each clip, from its first on")
    parser.add_argument("--flat", metavar="WIDTHxHEIGHT", help="measure flat colours at that size too")
    parser.add_argument("--json", type=Path, help="write all figures, by frame too, to that file")
    chosen = parser.parse_args()
    flat_size = named(f"flat@{chosen.flat}")[1] if chosen.flat else None
    if chosen.flat and flat_size is None:
        parser.error(f"{chosen.flat} is no WIDTHxHEIGHT")
    vae = load(chosen.model, dtype="float32")
    with built_in_clip() as clip:
        clips = [measured(vae, text, chosen.frames) for text in chosen.clips or [str(clip)]]
    show(clips)
    figures: dict[str, Any] = {"model": chosen.model, "clips": [clip.as_dict() for clip in clips]}
    if flat_size is not None:
        colours = {name: flat(vae, colour, flat_size, chosen.frames) for name, colour in COLOURS.items()}
        show_flat(colours)
        figures["flat"] = {name: dataclasses.asdict(found) for name, found in colours.items()}
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
