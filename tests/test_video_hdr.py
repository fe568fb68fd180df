"""HDR made SDR: patches of known light come out at the level that the standards give, and nothing turns grey."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np
import pytest
from reading import HEVC, read

from cogvae_cli.io.read_options import ReadOptions
from cogvae_cli.io.tone_mapping import PEAK, WHITE, ToneMapper, hlg_to_scene, nits_to_pq, pq_to_nits, rolled_off

TONEMAP = ReadOptions(hdr="tonemap")
TRANSFERS = {"PQ": 16, "HLG": 18}


def test_pq_is_that_of_its_standard():
    """ST 2084's own table, to the digits that it gives: code 0.5081 is 100 nits, 0.7518 is 1000."""
    assert pq_to_nits(np.array([0.0, 0.508078, 0.751827, 1.0])) == pytest.approx([0, 100, 1000, 10_000], rel=1e-4)
    nits = np.geomspace(0.01, 10_000, 50)
    assert pq_to_nits(nits_to_pq(nits)) == pytest.approx(nits, rel=1e-9)


def test_hlg_is_that_of_its_standard():
    """BT.2100: half the signal is a twelfth of the light, and the curve has no step there."""
    assert hlg_to_scene(np.array([0.0, 0.5, 0.5 + 1e-9, 1.0])) == pytest.approx([0, 1 / 12, 1 / 12, 1], abs=1e-6)


def test_the_roll_off_keeps_the_dark_ends_at_white_and_never_falls():
    nits = np.linspace(0, 2 * PEAK, 5000)
    rolled = rolled_off(nits)
    dark = nits < 80
    assert rolled[dark] == pytest.approx(nits[dark], rel=1e-6, abs=1e-9)
    assert rolled_off(np.array([PEAK, 4 * PEAK])) == pytest.approx([WHITE, WHITE])
    assert (np.diff(rolled) >= -1e-9).all()
    assert (rolled <= nits + 1e-6).all()


def code_of(transfer: str, nits: float) -> float:
    """Signal, 0 to 1, of grey of that light on a display of 1000 nits."""
    if transfer == "PQ":
        return float(nits_to_pq(np.array(nits)))
    scene = (nits / 1000) ** (1 / 1.2)
    return (
        float(np.sqrt(3 * scene))
        if scene <= 1 / 12
        else float(0.17883277 * np.log(12 * scene - 0.28466892) + 0.55991073)
    )


def expected(nits: float, peak: float = PEAK) -> float:
    """Level of grey in SDR, where 203 nits are white and displays follow BT.1886."""
    return 255 * (float(rolled_off(np.array(nits), peak)) / 203) ** (1 / 2.4)


def write_grey(path: Path, transfer: str, nits: list[float], said: str = "") -> Path:
    """Bars of grey of known light, 10 bits, BT.2020; `said` are x265's parameters of what the file says of it."""
    codes = np.repeat([round(64 + 876 * code_of(transfer, value)) for value in nits], 32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=25)
        stream.width, stream.height, stream.pix_fmt = len(codes), 64, "yuv420p10le"
        context = stream.codec_context
        context.options = {"x265-params": HEVC.options["x265-params"] + said, "crf": "4"}
        context.colorspace, context.color_primaries, context.color_trc = 9, 9, TRANSFERS[transfer]
        context.color_range = 1
        for number in range(3):
            frame = av.VideoFrame(len(codes), 64, "yuv420p10le")
            planes = [np.tile(codes, (64, 1)), np.full((32, len(codes) // 2), 512), np.full((32, len(codes) // 2), 512)]
            for plane, values in zip(frame.planes, planes, strict=True):
                padded = np.zeros((plane.height, plane.line_size // 2), np.uint16)
                padded[:, : plane.width] = values
                plane.update(padded.tobytes())
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_grey_of_known_light_gets_its_level(tmp_path, transfer):
    nits = [1.0, 5.0, 20.0, 50.0, 100.0, 203.0, 400.0, 900.0]
    frames, reader = read(write_grey(tmp_path / "a.mp4", transfer, nits), TONEMAP)
    for bar, value in enumerate(nits):
        pixels = frames[1][16:48, 32 * bar + 8 : 32 * bar + 24].astype(float)
        assert np.abs(pixels.mean((0, 1)) - expected(value)).max() < 2.5  # measured: 1.3; a level of 10 bits is 0.8
        assert np.ptp(pixels.mean((0, 1))) < 1  # grey stays grey
    assert len(frames) == 3
    assert reader.record()["hdr"] == f"{transfer}, tone-mapped"
    assert any(f"HDR ({transfer})" in notice for notice in reader.notices)


DISPLAY = ":master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(%d,50)"


@pytest.mark.parametrize(
    ("said", "peak"),
    [
        (DISPLAY % 40_000_000, 4000),
        (DISPLAY % 40_000_000 + ":max-cll=600,200", 600),
        (":max-cll=2000,0", 2000),
        (DISPLAY % 1_000_000, WHITE),  # darker than SDR's white: nothing is rolled off
    ],
)
def test_highlights_are_rolled_off_up_to_the_light_that_the_file_speaks_of(tmp_path, said, peak):
    nits = [20.0, 100.0, 190.0, 400.0, 580.0, 1500.0, 3500.0]
    frames, reader = read(write_grey(tmp_path / "a.mp4", "PQ", nits, said), TONEMAP)
    levels = [frames[1][16:48, 32 * bar + 8 : 32 * bar + 24].mean() for bar in range(len(nits))]
    assert levels == pytest.approx([expected(min(value, peak), peak) for value in nits], abs=2.5)  # measured: 2.1
    assert reader.record()["hdr"] == f"PQ up to {peak:g} nits, tone-mapped"


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_colours_keep_their_hue_and_bright_ones_are_not_clipped_apart(transfer):
    mapper = ToneMapper(transfer)
    base = np.array([0.55, 0.45, 0.35])
    shown = [
        mapper.apply(np.round(65535 * (base + step)).astype(np.uint16)[None, None])[0, 0] for step in (0.0, 0.2, 0.4)
    ]
    for red, green, blue in shown:
        assert red > green > blue
    assert all((later >= earlier).all() for earlier, later in itertools.pairwise(shown))


def test_a_red_of_bt709_comes_back_as_it_was():
    """A colour that SDR can show, coded as PQ of BT.2020 at 100 nits of white, is the same colour at that light."""
    to_2020 = np.linalg.inv([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
    linear = np.array([0.6, 0.1, 0.05])  # of BT.709
    codes = nits_to_pq(60 * to_2020 @ linear)
    shown = ToneMapper("PQ").apply(np.round(65535 * codes).astype(np.uint16)[None, None])[0, 0]
    assert shown == pytest.approx(255 * (60 * linear / 203) ** (1 / 2.4), abs=1)
