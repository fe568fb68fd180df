"""The main job at the sizes that take long on a CPU: every count of frames, 480x272 and 720x405."""

from __future__ import annotations

from fractions import Fraction

import pytest
from main_job import assert_same_video, there_and_back
from media import Coding, write_numbered

pytestmark = pytest.mark.long


@pytest.mark.parametrize("size", [(480, 272), (720, 405)])
@pytest.mark.parametrize("frames", [1, 2, 5, 8, 9, 13, 16, 17, 49, 50])
def test_as_many_frames_come_back_in_the_same_order(frames, size, tmp_path):
    coding = Coding(pix_fmt="yuv444p" if size[1] % 2 else "yuv420p")
    clip = write_numbered(tmp_path / "in.mp4", frames, size, Fraction(30000, 1001), coding)
    assert_same_video(there_and_back(clip), frames, size, Fraction(30000, 1001))
