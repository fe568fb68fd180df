"""Between diffusers' tensors and ours."""

import numpy as np
import pytest
from random_weights import FULL, TINY, random_tensors

from cogvae_cli.errors import ModelError
from cogvae_cli.model import weights
from cogvae_cli.model.numerics import Numerics
from cogvae_cli.model.vae import Network


def test_the_full_network_has_the_released_tensors() -> None:
    shapes = weights.torch_shapes(FULL)
    assert len(shapes) == 436
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 215_583_907
    encoder = sum(int(np.prod(shape)) for key, shape in shapes.items() if key.startswith("encoder."))
    assert encoder == 92_215_456
    assert shapes["encoder.conv_in.conv.weight"] == (128, 3, 3, 3, 3)
    assert shapes["encoder.down_blocks.0.downsamplers.0.conv.weight"] == (128, 128, 3, 3)
    assert shapes["encoder.down_blocks.1.resnets.0.conv_shortcut.weight"] == (256, 128, 1, 1, 1)
    assert shapes["decoder.norm_out.conv_y.conv.weight"] == (128, 16, 1, 1, 1)


def test_tensors_come_back_as_they_went_in() -> None:
    tensors = random_tensors(TINY)
    params = {part: weights.to_params(Network(TINY, part, Numerics()), tensors) for part in weights.PARTS}
    back = weights.to_tensors(params)
    assert back.keys() == tensors.keys()
    for key, tensor in tensors.items():
        np.testing.assert_array_equal(back[key], tensor)


def test_all_that_is_missing_left_over_or_of_another_shape_is_told_in_one_error() -> None:
    tensors = random_tensors(TINY)
    del tensors["encoder.conv_in.conv.bias"], tensors["decoder.norm_out.conv_b.conv.weight"]
    tensors["decoder.extra.weight"] = np.zeros(3, np.float32)
    tensors["encoder.conv_out.conv.weight"] = tensors["encoder.conv_out.conv.weight"][:16]
    with pytest.raises(ModelError) as caught:
        weights.check(TINY, tensors)
    message = str(caught.value)
    assert "2 missing (decoder.norm_out.conv_b.conv.weight, encoder.conv_in.conv.bias)" in message
    assert "1 not part of this VAE (decoder.extra.weight)" in message
    assert "encoder.conv_out.conv.weight is [16, 64, 3, 3, 3] instead of [32, 64, 3, 3, 3]" in message
    assert "\n" not in message


def test_a_whole_other_network_is_told_without_hundreds_of_names() -> None:
    with pytest.raises(ModelError) as caught:
        weights.check(FULL, random_tensors(TINY))
    assert "192 missing" in str(caught.value)
    assert len(str(caught.value)) < 3000
