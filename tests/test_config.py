"""Reading configs, and refusing what upstream can't run."""

import re

import pytest

from cogvae_cli.errors import ModelError
from cogvae_cli.model.config import PRESETS, VAEConfig


def test_the_default_is_the_released_network() -> None:
    assert VAEConfig.from_diffusers({"_class_name": "AutoencoderKLCogVideoX"}) == VAEConfig()


def test_a_config_survives_the_way_through_diffusers_form() -> None:
    config = VAEConfig(block_out_channels=(16, 32, 32, 64), layers_per_block=1, norm_num_groups=8, scaling_factor=0.7)
    assert VAEConfig.from_diffusers(config.to_diffusers()) == config


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("_class_name", "AutoencoderKLWan", "AutoencoderKLWan"),
        ("use_quant_conv", True, "use_quant_conv is true"),
        ("use_post_quant_conv", True, "use_post_quant_conv is true"),
        ("temporal_compression_ratio", 8, "temporal_compression_ratio is 8"),
        ("act_fn", "gelu", "'gelu'"),
        ("down_block_types", ["CogVideoXDownBlock3D", "DownBlock2D"], "DownBlock2D"),
        ("up_block_types", ["UpBlock2D"], "UpBlock2D"),
        ("block_out_channels", [128, 256, 256], "not four"),
        ("block_out_channels", [128, 256, 256, 500], "32 norm groups"),
        ("block_out_channels", "wide", "'wide'"),
        ("layers_per_block", 0, "layers_per_block holds 0"),
        ("layers_per_block", True, "layers_per_block holds True"),
        ("latent_channels", 1e9, "latent_channels"),
        ("scaling_factor", "0.7", "scaling_factor is '0.7'"),
        ("scaling_factor", float("nan"), "scaling_factor is nan"),
        ("norm_eps", -1, "norm_eps is -1"),
        ("in_channels", 4, "4 channels in"),
        ("invert_scale_latents", 1, "invert_scale_latents is 1"),
    ],
)
def test_what_upstream_cannot_run_or_is_another_network_is_refused_by_name(
    field: str, value: object, said: str
) -> None:
    with pytest.raises(ModelError, match=re.escape(said)):
        VAEConfig.from_diffusers({"_class_name": "AutoencoderKLCogVideoX", field: value})


def test_fields_that_upstream_never_reads_are_accepted() -> None:
    unread = {"shift_factor": None, "latents_mean": None, "latents_std": None, "force_upcast": True}
    assert VAEConfig.from_diffusers(unread) == VAEConfig()


def test_presets_are_the_public_models_with_their_own_factors() -> None:
    assert {name: preset.scaling_factor for name, preset in PRESETS.items()} == {
        "cogvideox-2b": 1.15258426,
        "cogvideox-5b": 0.7,
        "cogvideox-5b-i2v": 0.7,
        "cogvideox1.5-5b": 0.7,
        "cogvideox1.5-5b-i2v": 0.7,
    }
    pinned = [preset.revision for preset in PRESETS.values() if preset.revision]
    assert all(re.fullmatch("[0-9a-f]{40}", revision) for revision in pinned)
    assert [name for name, preset in PRESETS.items() if preset.invert_scale_latents] == [
        "cogvideox1.5-5b",
        "cogvideox1.5-5b-i2v",
    ]
