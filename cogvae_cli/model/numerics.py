"""How the network computes: the dtype of its arrays, the precision of its products, the strips of its frames."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cogvae_cli.errors import UsageError

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float16": jnp.float16}

PRECISIONS = {
    "highest": jax.lax.Precision.HIGHEST,
    "high": jax.lax.Precision.HIGH,
    "default": jax.lax.Precision.DEFAULT,
}

STATISTICS = jnp.float32
"""Dtype of norm statistics and of their arithmetic, whatever the compute dtype."""


@dataclasses.dataclass(frozen=True)
class Numerics:
    """Compute dtype, precision of convolutions by name, and how many strips frames are cut into (see `strips`).

    float32 needs `highest` on TPU, where a float32 product is otherwise made of bfloat16 passes.
    """

    dtype: str = "float32"
    precision: str = "highest"
    strips: int = 1

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UsageError(f"dtype {self.dtype!r} is none of {', '.join(DTYPES)}")
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision {self.precision!r} is none of {', '.join(PRECISIONS)}")

    @property
    def array_dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(DTYPES[self.dtype])
        return dtype

    @property
    def lax_precision(self) -> jax.lax.Precision:
        return PRECISIONS[self.precision]
