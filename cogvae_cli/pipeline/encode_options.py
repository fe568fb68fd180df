"""How a video is encoded, as the command and a batch take it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cogvae_cli.errors import UsageError
from cogvae_cli.pipeline.options import Dtype, FramesPolicy, PosteriorKind, RunOptions
from cogvae_cli.pipeline.posterior import Choice, choose
from cogvae_cli.pipeline.video_options import ReadOptions

KINDS = {".npz": "npz", ".safetensors": "safetensors"}
"""Containers of latents by the suffix of the output."""


@dataclass(frozen=True)
class EncodeOptions(RunOptions):
    """How a video is encoded, all but the model's name."""

    store_dtype: Dtype = "float32"
    """dtype of the stored latents."""
    scaled: bool = False
    """Store latents times the scaling factor, as diffusion models take them."""
    posterior: PosteriorKind = "mean"
    seed: int | None = None
    """Of the noise of a sample, 0 to 2^63-1; 0 unless given."""
    frames_policy: FramesPolicy = "pad"
    """What is done with a number of frames that is no 8k+1: repeat the last one, drop the last ones, or refuse."""
    reading: ReadOptions = field(default_factory=ReadOptions)
    """Which part of the video is read, and how."""
    container: Literal["npz", "safetensors"] | None = None
    """None: what the output's suffix says."""
    program: str | None = None
    """A program in whose form a batch stores the latents, by the name that `convert` has for it; None: in our own."""
    overwrite: bool = False

    @property
    def cuts(self) -> bool:
        """Whether one video can become several clips."""
        return self.reading.window is not None and self.reading.window.is_many

    def choice(self) -> Choice:
        """What is stored of the posterior. Raises UsageError for options that don't agree."""
        if self.cuts and self.posterior == "sample":
            raise UsageError(
                "the clips of one video would be sampled with the same noise",
                "store --posterior moments, and sample when they are read, or the mean",
            )
        self._check_program()
        if self.scaled and self.posterior == "moments":
            raise UsageError("moments are never scaled", "leave out --scaled, or take --posterior mean or sample")
        return choose(self.posterior, self.seed)

    def _check_program(self) -> None:
        from cogvae_cli.io.foreign import form_of

        form = form_of(self.program)
        if form is None:
            return
        if form.moments != (self.posterior == "moments"):
            wanted = "moments" if form.moments else "mean or sample"
            raise UsageError(f"{self.program} doesn't store the {self.posterior}", f"take --posterior {wanted}")
        if self.scaled and not form.scaled:
            raise UsageError(f"{self.program} stores latents unscaled", "leave out --scaled")


def kind_of(output: Path, chosen: Literal["npz", "safetensors"] | None = None) -> str:
    """`npz` or `safetensors`: what was chosen, or what the suffix says. Raises UsageError where they don't agree."""
    suffix = output.suffix.lower()
    if chosen is not None:
        if suffix in KINDS and KINDS[suffix] != chosen:
            raise UsageError(f"{output} is named {suffix}, but {chosen} was asked for", "leave one of them out")
        return chosen
    if str(output) == "-":
        return "npz"
    if suffix not in KINDS:
        raise UsageError(f"{output} doesn't end in {' or '.join(KINDS)}", "latents are stored in one of these")
    return KINDS[suffix]
