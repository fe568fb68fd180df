"""A video into a latents file, chunk by chunk: memory doesn't grow with length.

One chunk is read ahead, one computes, and the one before it is read back and stored meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cogvae_cli import __version__
from cogvae_cli.errors import UsageError
from cogvae_cli.model.chunks import FIRST_FRAMES, FRAMES, latents_of, padded
from cogvae_cli.model.config import DEFAULT_MODEL, SPACE, ModelSource
from cogvae_cli.pipeline.device import Compiling, check_encoded, named_memory_errors, one_ahead
from cogvae_cli.pipeline.frames import Chunk, padding, prepared
from cogvae_cli.pipeline.models import obtain
from cogvae_cli.pipeline.progress import Notices, Progress
from cogvae_cli.pipeline.results import SCHEMA_VERSION, model_facts, rate_text, size_text
from cogvae_cli.pipeline.stages import Prefetch, WriteBehind

if TYPE_CHECKING:
    from cogvae_cli.io.latents import LatentsWriter
    from cogvae_cli.io.latents_header import LatentsHeader
    from cogvae_cli.io.video_reader import VideoReader
    from cogvae_cli.model.autoencoder import VAE
    from cogvae_cli.model.vae import Caches, EncodedChunk

Dtype = Literal["float32", "bfloat16", "float16"]

KINDS = {".npz": "npz", ".safetensors": "safetensors"}
"""Containers of latents by the suffix of the output."""


@dataclass(frozen=True)
class EncodeOptions:
    """How a video is encoded, all but the model's name."""

    revision: str | None = None
    """Commit, tag or branch on the Hub."""
    dtype: Dtype | None = None
    """dtype to compute in; float32 unless given."""
    store_dtype: Dtype = "float32"
    """dtype of the stored latents."""
    scaled: bool = False
    """Store latents times the scaling factor, as diffusion models take them."""
    overwrite: bool = False


@dataclass(frozen=True)
class EncodeResult:
    """What was encoded, and what it cost."""

    source: Path
    output: Path
    frames: int
    """Frames of the video, without the padding."""
    padded_frames: int
    width: int
    height: int
    rate: Fraction
    variable_rate: bool
    latents_shape: tuple[int, int, int, int]
    """[T H W C]"""
    store_dtype: str
    scaled: bool
    scaling_factor: float
    posterior: str
    model: ModelSource
    compute_dtype: str
    notices: tuple[str, ...]
    """What was decided about the video, in words."""
    output_bytes: int
    seconds: float
    """Wall time from opening the video to the file in place, without loading the model."""
    compile_seconds: float

    @property
    def frames_per_second(self) -> float:
        """Speed once compiled."""
        return self.frames / max(self.seconds - self.compile_seconds, 1e-9)

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "encode",
            "source": str(self.source),
            "output": str(self.output),
            "output_bytes": self.output_bytes,
            "frames": self.frames,
            "padded_frames": self.padded_frames,
            "width": self.width,
            "height": self.height,
            "rate": rate_text(self.rate),
            "variable_rate": self.variable_rate,
            "latents": {
                "shape": list(self.latents_shape),
                "dtype": self.store_dtype,
                "scaled": self.scaled,
                "scaling_factor": self.scaling_factor,
                "posterior": self.posterior,
            },
            "model": model_facts(self.model),
            "compute_dtype": self.compute_dtype,
            "notices": list(self.notices),
            "seconds": round(self.seconds, 3),
            "compile_seconds": round(self.compile_seconds, 3),
            "frames_per_second": round(self.frames_per_second, 3),
        }


def encode_file(
    source: str | Path,
    output: str | Path,
    *,
    model: str | VAE = DEFAULT_MODEL,
    options: EncodeOptions | None = None,
    progress: Progress | None = None,
) -> EncodeResult:
    """Encodes a video file into a latents file, `.npz` or `.safetensors` by its suffix.

    `model` is a name, a path or a loaded model. The output appears whole or not at all.
    Raises VideoError, ModelError, OutputExistsError, OutputError, UsageError, HubError, NonFiniteError and
    DeviceMemoryError.
    """
    from cogvae_cli.io.outputs import atomic_output, check_output
    from cogvae_cli.io.video_reader import VideoReader

    source, output = Path(source), Path(output)
    options, progress = options or EncodeOptions(), progress or Progress()
    kind_of(output)
    check_output(output, overwrite=options.overwrite, inputs=[source])
    with VideoReader(source) as reader:
        vae = obtain(model, revision=options.revision, dtype=options.dtype, progress=progress)
        start = time.perf_counter()
        with atomic_output(output, overwrite=options.overwrite, inputs=[source]) as part:
            run = _EncodeRun(vae, options, progress)
            header = run.store(source, reader, part, kind_of(output))
    return run.result(source, output, header, time.perf_counter() - start)


def kind_of(output: Path) -> str:
    """`npz` or `safetensors`. Raises UsageError for another suffix."""
    suffix = output.suffix.lower()
    if suffix not in KINDS:
        raise UsageError(f"{output} doesn't end in {' or '.join(KINDS)}", "latents are stored in one of these")
    return KINDS[suffix]


class _EncodeRun:
    """One clip on its way: the network's caches, and what has been counted so far."""

    def __init__(self, vae: VAE, options: EncodeOptions, progress: Progress) -> None:
        self._vae = vae
        self._options = options
        self._progress = progress
        self._notices = Notices(progress)
        self._caches: Caches = None
        self._compile_seconds = 0.0
        self._factor = np.float32(vae.scaling_factor if options.scaled else 1.0)

    def store(self, source: Path, reader: VideoReader, part: Path, kind: str) -> LatentsHeader:
        """Encodes all of `reader` into the container `part`; returns its header."""
        from cogvae_cli.io.latents import LatentsWriter

        size = size_text(reader.info.width, reader.info.height)
        self._notices.tell(reader.notices)
        compiling = Compiling(self._progress, size, "encoding")
        self._progress.begin(reader.info.declared_frames)
        try:
            with (
                named_memory_errors(size),
                LatentsWriter(part, kind, self._options.store_dtype, ("latents",)) as writer,
            ):
                with Prefetch(prepared(reader.chunks(FIRST_FRAMES, FRAMES))) as chunks:
                    frames = self._encode(chunks, writer, compiling)
                header = self._header(source, reader, frames)
                writer.finish(header)
        finally:
            self._progress.end()
        self._compile_seconds = compiling.seconds
        self._notices.tell(reader.notices)
        return header

    def _encode(self, chunks: Iterable[Chunk], writer: LatentsWriter, compiling: Compiling) -> int:
        """Returns the number of frames."""
        frames = 0
        with WriteBehind(writer.append) as behind:
            for chunk, encoded in one_ahead(self._dispatch, chunks, compiling):
                check_encoded(np.asarray(encoded.finite), chunk)
                behind.put({"latents": np.asarray(encoded.mean)[0] * self._factor})
                frames += chunk.count
                self._progress.advance(chunk.count)
        return frames

    def _dispatch(self, chunk: Chunk) -> EncodedChunk:
        encoded, self._caches = self._vae.encode_chunk(chunk.frames[None], self._caches)
        return encoded

    def _header(self, source: Path, reader: VideoReader, frames: int) -> LatentsHeader:
        import jax

        from cogvae_cli.io import latents_header as parts
        from cogvae_cli.io.fingerprint import sha256_of

        info, timing, colour = reader.info, reader.timing, reader.info.colour
        encoded = padded(frames)
        first = min(encoded, FIRST_FRAMES)
        bottom, right = padding(info.height), padding(info.width)
        return parts.LatentsHeader(
            dtype=self._options.store_dtype,
            posterior="mean",
            seed=None,
            scaling_factor=self._vae.scaling_factor,
            scaled=self._options.scaled,
            model=self._vae.source,
            frames=parts.FramesHeader(frames, info.height, info.width, encoded - frames, bottom, right, "pad", 0),
            plan=parts.PlanHeader(first, FRAMES, 1 + (encoded - first) // FRAMES),
            tiles=None,
            timing=parts.TimingHeader(timing.rate, timing.variable, timing.times),
            source=parts.SourceHeader(source.name, source.stat().st_size, sha256_of(source)),
            colour=parts.ColourHeader(colour.matrix, colour.range, colour.primaries, colour.transfer, colour.assumed),
            versions={"cogvae": __version__, "jax": jax.__version__},
            settings={"dtype": self._vae.encode_dtype},
        )

    def result(self, source: Path, output: Path, header: LatentsHeader, seconds: float) -> EncodeResult:
        frames = header.frames
        height, width = frames.height + frames.padded_bottom, frames.width + frames.padded_right
        encoded = frames.count + frames.padded_frames
        return EncodeResult(
            source=source,
            output=output,
            frames=frames.count,
            padded_frames=frames.padded_frames,
            width=frames.width,
            height=frames.height,
            rate=header.timing.rate,
            variable_rate=header.timing.variable,
            latents_shape=(latents_of(encoded), height // SPACE, width // SPACE, self._vae.config.latent_channels),
            store_dtype=header.dtype,
            scaled=header.scaled,
            scaling_factor=header.scaling_factor,
            posterior=header.posterior,
            model=header.model,
            compute_dtype=self._vae.encode_dtype,
            notices=self._notices.told,
            output_bytes=output.stat().st_size,
            seconds=seconds,
            compile_seconds=self._compile_seconds,
        )
