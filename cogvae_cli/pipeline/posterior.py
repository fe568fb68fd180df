"""What becomes of the latents' distribution: its mean, a sample of it, or both moments as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cogvae_cli.errors import LatentsError, UsageError

if TYPE_CHECKING:
    import jax

    from cogvae_cli.io.latents_header import LatentsHeader


@dataclass(frozen=True)
class Choice:
    """What is taken of moments."""

    kind: str
    """`mean`, `sample`, or `moments` for all of them."""
    seed: int | None
    """Of the noise; only a sample has one."""


def choose(kind: str, seed: int | None) -> Choice:
    """The seed of a sample is 0 unless given. Raises UsageError for a seed without a sample."""
    if kind == "sample":
        return Choice(kind, seed or 0)
    if seed is not None:
        raise UsageError(f"--seed {seed} is for a sample", "add --posterior sample")
    return Choice(kind, None)


def choose_of_stored(header: LatentsHeader, kind: str | None, seed: int | None) -> Choice | None:
    """What is taken of a file's latents to decode them; None where it holds values, which are taken as they are.

    Raises LatentsError for a choice that was made when the file was written, UsageError for a seed without a sample.
    """
    choice = choose(kind or "mean", seed)
    if header.posterior == "moments":
        return choice
    if kind not in (None, header.posterior) or seed is not None:
        raise LatentsError(
            f"the file holds values already (posterior {header.posterior}), so no {kind} can be made",
            "encode the video with --posterior moments to choose later",
        )
    return None


class Taker:
    """Takes the same of one chunk of moments after the other, whatever the chunks' lengths.

    The noise depends on seed, source and latent frame alone: `model.posterior`.
    """

    def __init__(self, choice: Choice, source_sha256: str | None) -> None:
        """`source_sha256` is that of what was encoded; only a sample needs it."""
        from cogvae_cli.model.posterior import clip_key

        self._choice = choice
        self._key = None
        if choice.seed is not None:
            if source_sha256 is None:
                raise ValueError("a sample depends on its source")
            self._key = clip_key(choice.seed, source_sha256)
        self._done = 0

    def take(self, mean: jax.Array | np.ndarray, logvar: jax.Array | np.ndarray) -> dict[str, np.ndarray]:
        """Moments of the next latent frames, float32 [t h w C], to the arrays that are stored of them."""
        start, self._done = self._done, self._done + mean.shape[0]
        if self._choice.kind == "moments":
            return {"mean": np.asarray(mean), "logvar": np.asarray(logvar)}
        if self._key is None:
            return {"latents": np.asarray(mean)}
        import jax.numpy as jnp

        from cogvae_cli.model.posterior import draw, frames_noise

        time, height, width, channels = mean.shape
        noise = frames_noise(self._key, start, (time, height, width, channels))
        return {"latents": np.asarray(draw(jnp.asarray(mean), jnp.asarray(logvar), noise))}
