"""What a finished round trip tells besides its quality: shapes, cost, and the details of its report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cogvae_cli.model.chunks import latents_of, padded
from cogvae_cli.model.config import SPACE
from cogvae_cli.pipeline.frames import padding
from cogvae_cli.pipeline.machine import device_facts, memory_facts, versions
from cogvae_cli.pipeline.options import RunOptions
from cogvae_cli.pipeline.report_facts import (
    border_facts,
    frame_facts,
    input_facts,
    latent_facts,
    place_facts,
    size_facts,
)

if TYPE_CHECKING:
    from cogvae_cli.io.video_reader import VideoReader
    from cogvae_cli.model.autoencoder import VAE
    from cogvae_cli.pipeline.recording import Recorded
    from cogvae_cli.pipeline.stopwatch import Stopwatch
    from cogvae_cli.report.latent_channels import LatentFigures
    from cogvae_cli.report.metrics import Quality


@dataclass(frozen=True)
class Finished:
    """A clip that has been read to its end, and the model that it went through."""

    reader: VideoReader
    vae: VAE
    quality: Quality

    @property
    def padded_size(self) -> tuple[int, int]:
        """Height and width that the network saw."""
        info = self.reader.info
        return info.height + padding(info.height), info.width + padding(info.width)

    @property
    def latents_shape(self) -> tuple[int, int, int, int]:
        """[T H W C], with the padding."""
        height, width = self.padded_size
        frames = latents_of(padded(self.quality.frames))
        return frames, height // SPACE, width // SPACE, self.vae.config.latent_channels

    def cost(self, watch: Stopwatch, seconds: float) -> dict[str, Any]:
        """Sizes, time by stage and memory; `seconds` are those without loading the model."""
        info = self.reader.info
        return {
            "sizes": size_facts(self.quality.frames, (info.width, info.height), self.latents_shape, info.bytes),
            "stages": watch.stages(seconds + watch.seconds["loading_model"]),
            "memory": memory_facts(),
        }

    def details(self, options: RunOptions, recorded: Recorded, latents: LatentFigures) -> dict[str, Any]:
        """What only the report tells."""
        vae, info = self.vae, self.reader.info
        asked = {"frames_policy": "pad", "encode_dtype": vae.encode_dtype, "decode_dtype": vae.decode_dtype}
        return {
            "input": input_facts(info),
            "settings": asked | options.tiles.as_settings() | self.reader.record(),
            "by_frame": frame_facts(self.quality, recorded.perceptual),
            **place_facts(recorded),
            "tile_borders": border_facts(vae.grid(*self.padded_size), info.height, info.width),
            "latents": latent_facts(latents, vae.scaling_factor) | {"shape": list(self.latents_shape)},
            "versions": versions(),
            "machine": device_facts(),
        }
