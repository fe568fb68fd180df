"""Convolutions on channels-last arrays, each in the form that its platform computes fastest.

Axes: B batch, T time, H height, W width, I and O channels in and out. Kernels are [T H W I O] and [H W I O].
The form follows the platform compiled for (`lax.platform_dependent`), not the machine that compiles.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from cogvae_cli.model import fewer_products
from cogvae_cli.model.strips import with_neighbours

Padding = tuple[tuple[int, int], tuple[int, int]]

NONE, ONE = (0, 0), (1, 1)

SAME: Padding = (ONE, ONE)
"""One zero on every side: a 3x3 kernel keeps the size."""

_WIDE, _MANY = 128, 1024
"""Channels, and pixels of all frames, from which on fewer products pay for combining what goes into them. With 64
channels they still do, but for what they take to compile."""

_NARROW_IN, _NARROW_OUT = 32, 8
"""Channels in and out up to which three frames of them are cheaper to hold side by side than three sums to add."""

_LARGE = 2**19
"""Values of a frame from which on a CPU convolves frames one by one: what one frame takes stays nearer to the
processor than what all of them take at once."""


def conv2d(
    x: Float[Array, "N H W I"],
    kernel: Float[Array, "h w I O"],
    *,
    padding: Padding,
    stride: int = 1,
    precision: lax.Precision,
) -> Float[Array, "N P Q O"]:
    """2-D convolution of every frame, zeros outside."""
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=precision
    )


def conv3d(
    x: Float[Array, "B S H W I"], kernel: Float[Array, "3 3 3 I O"], *, precision: lax.Precision, strips: int = 1
) -> Float[Array, "B T H W O"]:
    """3x3x3 convolution: S frames in, T = S-2 out; zeros outside in space, nothing added in time."""
    if strips > 1:
        return _plain(with_neighbours(x, strips), kernel, padding=(NONE, ONE), precision=precision)
    y: jax.Array = lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_on_cpu, precision=precision),
        default=functools.partial(_as_one, precision=precision),
    )
    return y


def _on_cpu(x: jax.Array, kernel: jax.Array, *, precision: lax.Precision) -> jax.Array:
    """XLA's CPU backend runs 2-D convolutions at up to twice the rate of a 3-D one."""
    _, frames, height, width, channels = x.shape
    pays = min(channels, kernel.shape[-1]) >= _WIDE and (frames - 2) * height * width >= _MANY and width % 2 == 0
    if pays:
        return fewer_products.conv3d(x, kernel, precision=precision)
    if kernel.shape[-1] <= min(channels, _NARROW_OUT):
        return _to_three_frames(x, kernel, precision=precision)
    if channels > _NARROW_IN:
        return _as_three_planes(x, kernel, precision=precision)
    if height * width * channels < _LARGE:
        return _of_three_frames(x, kernel, precision=precision)
    return _frame_by_frame(x, kernel, precision=precision)


def _as_one(x: jax.Array, kernel: jax.Array, *, precision: lax.Precision) -> jax.Array:
    return _plain(x, kernel, padding=SAME, precision=precision)


def _plain(
    x: jax.Array,
    kernel: jax.Array,
    *,
    padding: Padding,
    stride: int = 1,
    precision: lax.Precision,
) -> jax.Array:
    """One 3-D convolution; zeros and stride are those of height and width."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (1, stride, stride),
        (NONE, *padding),
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        precision=precision,
    )


def _as_three_planes(x: jax.Array, kernel: jax.Array, *, precision: lax.Precision) -> jax.Array:
    """The sum over time of 2-D convolutions."""
    batch, frames, height, width, channels = x.shape
    frames -= 2

    def plane(offset: int) -> jax.Array:
        part = x[:, offset : offset + frames].reshape(batch * frames, height, width, channels)
        return conv2d(part, kernel[offset], padding=SAME, precision=precision)

    y = plane(0) + plane(1) + plane(2)  # [B*T H W O]
    return y.reshape(batch, frames, height, width, -1)


def _of_three_frames(x: jax.Array, kernel: jax.Array, *, precision: lax.Precision) -> jax.Array:
    """One 2-D convolution of frames that hold their two predecessors' channels too."""
    batch, frames, height, width, channels = x.shape
    frames -= 2
    three = lax.concatenate([x[:, offset : offset + frames] for offset in range(3)], 4)  # [B T H W 3*I]
    three = three.reshape(batch * frames, height, width, 3 * channels)
    taps = lax.concatenate([kernel[offset] for offset in range(3)], 2)  # [3 3 3*I O]
    y = conv2d(three, taps, padding=SAME, precision=precision)
    return y.reshape(batch, frames, height, width, -1)


def _frame_by_frame(x: jax.Array, kernel: jax.Array, *, precision: lax.Precision) -> jax.Array:
    """The same, one frame after the other."""

    def frame(first: jax.Array) -> jax.Array:
        three = lax.dynamic_slice_in_dim(x, first, 3, axis=1)  # [B 3 H W I]
        return _of_three_frames(three, kernel, precision=precision)[:, 0]

    y: jax.Array = lax.map(frame, jnp.arange(x.shape[1] - 2))  # [T B H W O]
    return y.swapaxes(0, 1)


def _to_three_frames(x: jax.Array, kernel: jax.Array, *, precision: lax.Precision) -> jax.Array:
    """One 2-D convolution of every frame, of whose results each goes to another of three frames."""
    batch, frames, height, width, channels = x.shape
    taps = lax.concatenate([kernel[offset] for offset in range(3)], 3)  # [3 3 I 3*O]
    y = conv2d(x.reshape(batch * frames, height, width, channels), taps, padding=SAME, precision=precision)
    y = y.reshape(batch, frames, height, width, 3, -1)
    first, second, third = (y[:, offset : offset + frames - 2, :, :, offset] for offset in range(3))
    return first + second + third


def halving_conv(
    x: Float[Array, "B T H W I"], kernel: Float[Array, "3 3 I O"], *, precision: lax.Precision, strips: int = 1
) -> Float[Array, "B T H/2 W/2 O"]:
    """3x3 convolution of stride 2, with zeros below and to the right only."""
    if strips > 1:
        x = with_neighbours(x, strips, above=False)
        return _plain(x, kernel[None], padding=(NONE, (0, 1)), stride=2, precision=precision)
    batch, frames, height, width, channels = x.shape
    x = x.reshape(batch * frames, height, width, channels)
    y = conv2d(x, kernel, padding=((0, 1), (0, 1)), stride=2, precision=precision)
    return y.reshape(batch, frames, height // 2, width // 2, -1)


def doubling_conv(
    x: Float[Array, "B T H W I"], kernel: Float[Array, "3 3 I O"], *, precision: lax.Precision, strips: int = 1
) -> Float[Array, "B T 2*H 2*W O"]:
    """Nearest-neighbour doubling of height and width, then a 3x3 convolution."""
    batch, frames, height, width, channels = x.shape
    if strips == 1:
        form = functools.partial(upsampling_conv2d, precision=precision)
        on_cpu = functools.partial(_one_by_one, form) if height * width * channels >= _LARGE else form
        x = x.reshape(batch * frames, height, width, channels)
        y: jax.Array = lax.platform_dependent(x, kernel, cpu=on_cpu, default=form)
        return y.reshape(batch, frames, 2 * height, 2 * width, -1)
    x = with_neighbours(x, strips)
    phases = [
        _plain(
            x[:, :, row : row + height + 1],
            _merge_taps(kernel, row, column)[None],
            padding=(NONE, _edge(column)),
            precision=precision,
        )
        for row in (0, 1)
        for column in (0, 1)
    ]
    y = lax.concatenate([phase[None] for phase in phases], 0)
    y = y.reshape(2, 2, batch, frames, height, width, -1).transpose(2, 3, 4, 0, 5, 1, 6)  # [B T H 2 W 2 O]
    return y.reshape(batch, frames, 2 * height, 2 * width, -1)


def upsampling_conv2d(
    x: Float[Array, "N H W I"], kernel: Float[Array, "3 3 I O"], *, precision: lax.Precision
) -> Float[Array, "N 2*H 2*W O"]:
    """Nearest-neighbour doubling followed by a 3x3 convolution, as four 2x2 convolutions, one an output phase.

    Doubled pixels repeat, so kernel taps that meet the same source pixel are added beforehand: 4 products a pixel
    instead of 9. Equal to doubling first but for the order of float additions.
    """
    count, height, width, _ = x.shape
    phases = [
        conv2d(x, _merge_taps(kernel, row, column), padding=(_edge(row), _edge(column)), precision=precision)
        for row in (0, 1)
        for column in (0, 1)
    ]
    y = lax.concatenate([phase.reshape(1, count, height, width, -1) for phase in phases], 0)
    y = y.reshape(2, 2, count, height, width, -1).transpose(2, 3, 0, 4, 1, 5)  # [N H 2 W 2 O]
    return y.reshape(count, 2 * height, 2 * width, -1)


def _one_by_one(form: Callable[[jax.Array, jax.Array], jax.Array], x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A 2-D convolution of frames [N H W I], one after the other."""
    y: jax.Array = lax.map(lambda frame: form(frame[None], kernel)[0], x)
    return y


def _edge(phase: int) -> tuple[int, int]:
    """Phase 0 of a doubled axis looks one source pixel back, phase 1 one ahead."""
    return (1, 0) if phase == 0 else (0, 1)


def _merge_taps(kernel: jax.Array, row: int, column: int) -> jax.Array:
    """[3 3 I O] -> [2 2 I O]: adds the two taps that meet the same source row, and those of the same column."""
    first, second, third = kernel
    rows = (first, second + third) if row == 0 else (first + second, third)
    merged = []
    for taps in rows:  # [3 I O]
        left, middle, right = taps
        merged += [left, middle + right] if column == 0 else [left + middle, right]
    return lax.concatenate([tap[None] for tap in merged], 0).reshape(2, 2, *kernel.shape[2:])
