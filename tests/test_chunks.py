"""The plan of time."""

import pytest

from cogvae_cli.model import chunks

# frames in: latents, frames out (NUMERICS.md, section 4: read off upstream)
UPSTREAM = {1: (1, 1), 5: (2, 8), 8: (2, 8), 9: (3, 9), 13: (4, 16), 16: (4, 16), 17: (5, 17), 45: (12, 48)} | {
    49: (13, 49),
    81: (21, 81),
    85: (22, 88),
}


@pytest.mark.parametrize("frames", UPSTREAM)
def test_latents_and_frames_count_as_upstream_counts_them(frames: int) -> None:
    latents, out = UPSTREAM[frames]
    assert chunks.latents_of(frames) == latents
    assert chunks.frames_of(latents) == out
    assert chunks.is_exact(frames) == (frames == out)


def test_the_remainder_goes_to_the_first_chunk() -> None:
    assert chunks.encode_plan(25) == (9, 8, 8)
    assert chunks.encode_plan(13) == (13,)
    assert chunks.encode_plan(23) == (15, 8)
    assert chunks.encode_plan(5) == (5,)
    assert chunks.decode_plan(13) == (3, 2, 2, 2, 2, 2)
    assert chunks.decode_plan(4) == (2, 2)
    assert chunks.decode_plan(1) == (1,)


@pytest.mark.parametrize("frames", range(1, 200))
def test_a_plan_holds_every_frame_once_and_no_chunk_but_the_first_differs(frames: int) -> None:
    plan = chunks.encode_plan(frames)
    assert sum(plan) == frames
    assert set(plan[1:]) <= {chunks.FRAMES}
    plan = chunks.decode_plan(frames)
    assert sum(plan) == frames
    assert set(plan[1:]) <= {chunks.LATENTS}


@pytest.mark.parametrize("frames", range(1, 200))
def test_padding_and_trimming_reach_the_nearest_8k_plus_1(frames: int) -> None:
    assert chunks.padded(frames) % 8 == chunks.trimmed(frames) % 8 == 1
    assert 0 <= chunks.padded(frames) - frames < 8
    assert 0 <= frames - chunks.trimmed(frames) < 8
    assert chunks.frames_of(chunks.latents_of(chunks.padded(frames))) == chunks.padded(frames)


def test_a_plan_of_no_frames_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        chunks.encode_plan(0)
