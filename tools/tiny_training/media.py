"""Which media the built-in model learns from, which frames of them are held out, and their pixels as memory maps.

Only files of the table are ever opened, each by its sha256, so a held-out clip can't come in under another name.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from cogvae_cli.errors import CogvaeError
from cogvae_cli.io.fingerprint import sha256_of
from cogvae_cli.io.read_options import ReadOptions
from cogvae_cli.io.video_reader import VideoReader

BLENDER = "CC-BY 3.0, (c) 2008 Blender Foundation, www.bigbuckbunny.org"


@dataclasses.dataclass(frozen=True)
class Medium:
    """A file to learn from."""

    path: str
    """Within the folder of media."""
    sha256: str
    licence: str
    frames: tuple[range, ...] = (range(1),)
    """Those that are learned from, counted from the first that the file shows. No other is kept."""
    size: tuple[int, int] | None = None
    """Width and height to store; None is the file's own."""

    @property
    def count(self) -> int:
        return sum(map(len, self.frames))

    @property
    def is_still(self) -> bool:
        return self.count == 1


NATURAL, IMAGES = "natural/", "images/"

MEDIA = (
    Medium(
        NATURAL + "cityCC0.mpg",
        "fe129d341e5b1a174336b956bf16d2b215a506c4a07f6fa3351a1e9b58ca0279",
        "CC0 (kivy/kivy#4920)",
        frames=(range(100, 190),),
    ),
    Medium(
        NATURAL + "trailer_bbb.mp4",
        "ce0d2ba68822a89ae65ee41b53be9de621771130c2aa1d0ff02d935df75b59ae",
        BLENDER,
        # From 593 on it shows the shot of bigbuckbunny.mp4, which is held out, until that has faded out.
        frames=(range(60, 593), range(864, 1323)),
        size=(640, 360),
    ),
    Medium(
        IMAGES + "astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "public domain (NASA)",
    ),
    Medium(
        IMAGES + "hubble_deep_field.jpg",
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
        "public domain (NASA)",
    ),
    Medium(
        IMAGES + "rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        "public domain (SpaceX)",
    ),
    Medium(IMAGES + "chelsea.png", "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb", "CC0"),
    Medium(IMAGES + "coffee.png", "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7", "CC0"),
    Medium(IMAGES + "retina.jpg", "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6", "CC0"),
    Medium(
        IMAGES + "china.jpg",
        "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
        "CC-BY 2.0 (danielbuechele)",
    ),
    Medium(
        IMAGES + "flower.jpg",
        "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
        "CC-BY 2.0 (vultilion)",
    ),
)


def pixels_of(folder: Path, cache: Path, media: Sequence[Medium]) -> list[np.ndarray]:
    """The frames of each medium, uint8 [T H W 3], decoded once and then mapped from `cache`.

    Raises CogvaeError for a file that isn't the one of the table.
    """
    cache.mkdir(parents=True, exist_ok=True)
    return [_mapped(folder, cache, medium) for medium in media]


def _mapped(folder: Path, cache: Path, medium: Medium) -> np.ndarray:
    kept = cache / f"{Path(medium.path).stem}.npy"
    said = kept.with_suffix(".json")
    wanted = json.dumps(dataclasses.asdict(medium), default=str)
    if not (said.is_file() and said.read_text(encoding="utf-8") == wanted):
        path = folder / medium.path
        found = sha256_of(path)
        if found != medium.sha256:
            raise CogvaeError(
                f"{path} has sha256 {found}, not {medium.sha256}: it is another file than was learned from"
            )
        _decode(path, medium, kept)
        said.write_text(wanted, encoding="utf-8")
    pixels: np.ndarray = np.load(kept, mmap_mode="r")
    return pixels


def _decode(path: Path, medium: Medium, kept: Path) -> None:
    """Writes the frames that may be learned from, one at a time; the others are dropped as they come."""
    if path.suffix in (".png", ".jpg"):
        with Image.open(path) as image:
            np.save(kept, np.asarray(image.convert("RGB"))[None])
        return
    wanted = {frame: place for place, frame in enumerate(frame for part in medium.frames for frame in part)}
    pixels = None
    with VideoReader(path, ReadOptions(size=medium.size)) as reader:
        for number, frame in enumerate(reader.frames()):
            if number not in wanted:
                continue
            if pixels is None:
                pixels = np.lib.format.open_memmap(kept, "w+", np.uint8, (medium.count, *frame.shape))
            pixels[wanted[number]] = frame
    if pixels is None or number < max(wanted):
        raise CogvaeError(f"{path} has no frame {max(wanted)}")
    pixels.flush()
