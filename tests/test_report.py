"""The report of a round trip: a page that needs nothing else, figures as documented, gates."""

from __future__ import annotations

import base64
import io
import json
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from by_hand import decoded_by_hand, frames_of
from media import Coding, write_numbered
from page_parts import Page

import cogvae_cli as cogvae
from cogvae_cli.cli.main import main
from cogvae_cli.pipeline import report_page
from cogvae_cli.pipeline.roundtrip_options import RoundtripOptions

SIZE = (64, 45)
NAME = "<b>ü & 'x' \"y\"</b>.mkv"  # as a file may be named, and as no page may take it


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Neither 8k+1 frames nor a height that is a multiple of 8."""
    folder = tmp_path_factory.mktemp("report")
    return write_numbered(folder / NAME.replace("/", "-"), 13, SIZE, Fraction(24000, 1001), Coding(pix_fmt="yuv444p"))


@pytest.fixture(scope="module")
def written(clip, tmp_path_factory) -> Path:
    """The page of a run with tiles; its figures lie beside it."""
    page = tmp_path_factory.mktemp("written") / "r.html"
    command = ["roundtrip", str(clip), "--model", "tiny", "--tile", "40x48", "--report-out", str(page), "-q", "--json"]
    assert main(command) == 0
    return page


@pytest.fixture(scope="module")
def page(written) -> Page:
    return Page(written)


@pytest.fixture(scope="module")
def figures(written) -> dict:
    return json.loads(written.with_suffix(".json").read_text())


def paths_of(value, prefix: str = "") -> set[str]:
    """Dotted names of all fields; a list of objects is `name[]`."""
    if isinstance(value, dict):
        return {
            path for name, inner in value.items() for path in paths_of(inner, f"{prefix}.{name}" if prefix else name)
        }
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {path for inner in value for path in paths_of(inner, f"{prefix}[]")}
    return {prefix}


def documented(root: Path) -> dict[str, str]:
    """Fields that docs/report.md describes and the kind each belongs to."""
    text = (root / "docs" / "report.md").read_text().split("## The figures as JSON")[1]
    found = {}
    for line in text.splitlines():
        if not line.startswith("| `"):
            continue
        names = re.findall(r"`([^`]+)`", line.split("|")[1])
        kind = line.split("|")[2].strip()
        found |= dict.fromkeys(names, kind if kind in ("roundtrip", "compare") else "both")
    return found


def check_documented(figures: dict, root: Path) -> None:
    """Every field is documented, and every documented field of that kind is there."""
    fields = {name for name, kind in documented(root).items() if kind in (figures["kind"], "both")}
    found = paths_of(figures)
    found.discard("gates")  # an empty list
    unknown = {path for path in found if not any(path == field or path.startswith(f"{field}.") for field in fields)}
    assert not unknown
    missing = {field for field in fields if not any(path == field or path.startswith(f"{field}.") for path in found)}
    assert not {field for field in missing if not field.startswith("gates[]")}


def test_every_figure_is_documented(figures, root):
    check_documented(figures, root)


def test_errors_by_place_are_those_of_the_frames(clip, tmp_path):
    result = cogvae.roundtrip_file(clip, model="tiny", options=RoundtripOptions(report=tmp_path / "r.json"))
    frames = frames_of(clip)
    squared = np.square(frames.astype(np.float64) - decoded_by_hand(frames))
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["by_row"]["rmse"] == pytest.approx(np.sqrt(squared.mean(axis=(0, 2, 3))), abs=0.05)
    assert found["by_column"]["rmse"] == pytest.approx(np.sqrt(squared.mean(axis=(0, 1, 3))), abs=0.05)
    assert found["frames_shown"] == {}
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]
    assert result.report_dict()["by_row"] == found["by_row"]


def test_latents_are_told_without_the_padding_of_the_tail(figures):
    latents = figures["latents"]
    assert latents["shape"] == [5, 6, 8, 16]
    assert latents["values_by_channel"] == 4 * 6 * 8  # 13 frames are 1 + 12 of the 1 + 16 that were encoded
    assert all(sum(channel["histogram"]) == 4 * 6 * 8 for channel in latents["channels"])
    assert latents["unit_factor"] == pytest.approx(1 / latents["deviation"], rel=1e-4)


def test_stages_add_up_to_the_time_that_passed(figures):
    stages = figures["stages"]
    assert {"loading_model", "compiling", "encoding", "decoding", "measuring", "waiting_for_frames"} <= set(stages)
    assert sum(stages.values()) == pytest.approx(figures["seconds"] + stages["loading_model"], abs=0.05)


def test_tile_borders_are_where_tiles_overlap(figures, page):
    assert figures["tile_borders"] == {"rows": [], "columns": [[24, 40]]}
    (row, column) = (page.with_class("stripe"), page.with_class("border"))
    assert [(stripe.attributes["x"], stripe.attributes["width"]) for stripe in row] == [("375.0", "250.0")]
    assert [line.attributes["d"] for line in column] == ["M24 0V45M40 0V45"]
    assert "columns where tiles meet have an error of" in page.text.lower()


def test_the_page_fetches_nothing(page):
    outside = [address for address in page.addresses() if not address.startswith("data:")]
    assert outside == []
    (policy,) = [meta for meta in page.all("meta") if meta.attributes.get("http-equiv")]
    assert policy.attributes["content"].startswith("default-src 'none';")
    assert not re.search(r"https?://", page.source.replace("http://www.w3.org/2000/svg", ""))


def test_every_picture_has_a_text(page):
    pictures = page.all("img")
    assert len(pictures) == 9  # original, result and difference of three frames
    assert all(picture.attributes["alt"] for picture in pictures)
    assert all(svg.attributes["role"] == "img" and svg.attributes["aria-label"] for svg in page.all("svg"))
    assert all(film.attributes["aria-label"] for film in page.all("video"))
    named = [field for field in page.all("input") if field.attributes.get("aria-label") or field.attributes.get("id")]
    assert len(named) == len(page.all("input")) == 4
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))


def test_what_the_issue_asks_for_is_on_the_page(page, figures):
    text = page.text
    for words in ("The clip", "Best: frame", "Median: frame", "Worst: frame", "PSNR by frame", "SSIM by frame"):
        assert words in text
    for words in ("VMAF by frame", "XPSNR (luma) by frame", "Error by place", "Error by row", "Error by column"):
        assert words in text
    for words in ("Latents by channel", "unit factor", "Time by stage", "highest memory", "frames policy"):
        assert words in text
    assert f"{figures['quality']['psnr_mean']:.2f} dB" in text
    assert figures["versions"]["jax"] in text
    assert figures["machine"]["kind"] in text
    assert figures["model"]["identity"] in text
    assert len(page.with_class("channels")) == 1
    assert text.count("deviation") >= 16


def test_chunk_borders_are_marked(page):
    starts = [index for index, element in enumerate(page.elements) if "data-chart" in element.attributes]
    names = [page.elements[start].attributes["data-chart"] for start in starts]
    assert names == ["psnr", "ssim", "vmaf", "xpsnr_y", "row", "column"]
    first = page.elements[starts[0] : starts[1]]
    marks = [element.attributes["d"] for element in first if element.attributes.get("class") == "mark"]
    assert marks == [f"M{round(1000 * 9 / 13, 1)} 0V1000"]


def test_a_name_of_a_file_is_text_and_no_markup(page, clip):
    assert page.all("b") == []
    (title,) = page.all("h1")
    assert clip.name in title.text


def test_the_films_hold_every_frame_in_order(page, clip):
    for name in ("film-original", "film-result"):
        address = page.with_id(name).attributes["src"]
        assert address.startswith("data:video/mp4;base64,")
        with av.open(io.BytesIO(base64.b64decode(address.split(",")[1]))) as film:
            stream = film.streams.video[0]
            assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
            assert stream.average_rate == Fraction(24000, 1001)
            assert sum(1 for _ in film.decode(stream)) == 13
    assert page.with_class("films")[0].attributes["data-frames"] == "13"


def test_large_films_lie_beside_the_page(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(report_page, "EMBEDDED_BYTES", 100)
    name = tmp_path / "a b#c.html"
    cogvae.roundtrip_file(clip, model="tiny", options=RoundtripOptions(report=name))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a b#c.html",
        "a b#c.json",
        "a b#c.original.mp4",
        "a b#c.result.mp4",
    ]
    linked = Page(name)
    assert linked.with_id("film-original").attributes["src"] == "a%20b%23c.original.mp4"
    with av.open(str(tmp_path / "a b#c.result.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 13


@pytest.mark.parametrize("name", ["r.html", "r.json", "r.original.mp4", "r.result.mp4"])
def test_nothing_is_overwritten_and_that_is_known_before_any_work(name, clip, tmp_path, capsys):
    (tmp_path / name).write_text("mine")
    command = ["roundtrip", str(clip), "--model", "tiny", "--report-out", str(tmp_path / "r.html")]
    assert main(command) == 4
    assert "compiling" not in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_video_and_the_report_cannot_be_one_file(clip, tmp_path, capsys):
    video = tmp_path / "r.original.mp4"
    command = ["roundtrip", str(clip), "--model", "tiny", "--report-out", str(tmp_path / "r.html"), "-o", str(video)]
    assert main(command) == 2
    assert "can't be one file" in capsys.readouterr().err


def test_the_default_names_are_in_the_current_folder(clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["roundtrip", str(clip), "--model", "tiny", "--report", "-q"]) == 0
    stem = clip.name.removesuffix(".mkv")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{stem}.report.html", f"{stem}.report.json"]


def test_one_frame_makes_a_page_too(tmp_path):
    single = write_numbered(tmp_path / "one.mkv", 1, SIZE, 25, Coding(pix_fmt="yuv444p"))
    cogvae.roundtrip_file(single, model="tiny", options=RoundtripOptions(report=tmp_path / "r.html"))
    found = Page(tmp_path / "r.html")
    assert "Best: frame 0" in found.text
    assert "Worst" not in found.text
    assert len(found.all("img")) == 3


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        (["--min-psnr", "90"], "PSNR is"),
        (["--min-ssim", "0.9999"], "SSIM is"),
        (["--min-vmaf", "100"], "VMAF is"),
        (["--min-psnr", "90", "--min-ssim", "1"], "; SSIM is"),
    ],
)
def test_a_missed_gate_ends_with_5_after_all_is_told_and_written(gate, words, clip, tmp_path, capsys):
    report = tmp_path / "r.json"
    assert main(["roundtrip", str(clip), "--model", "tiny", "--json", "-q", "--report-out", str(report), *gate]) == 5
    out, err = capsys.readouterr()
    assert words in err.splitlines()[0]
    assert len(err.splitlines()) == 2
    gates = json.loads(out)["gates"]
    assert [gate["passed"] for gate in gates] == [False] * len(gates)
    assert json.loads(report.read_text())["gates"] == gates


def test_a_gate_that_is_reached_ends_with_0(clip, capsys):
    assert main(["roundtrip", str(clip), "--model", "tiny", "--json", "-q", "--min-psnr", "5", "--min-vmaf", "0"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(gate["metric"], gate["passed"]) for gate in found["gates"]] == [("psnr_mean", True), ("vmaf_mean", True)]
    assert found["quality"]["vmaf_mean"] >= 0


def test_a_gate_on_vmaf_needs_it_and_says_so_before_any_work(clip, monkeypatch, capsys):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    assert main(["roundtrip", str(clip), "--model", "tiny", "--min-vmaf", "50"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: VMAF can't be measured")
    assert "compiling" not in err


def test_without_an_ffmpeg_the_page_says_what_is_missing(clip, tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    cogvae.roundtrip_file(clip, model="tiny", options=RoundtripOptions(report=tmp_path / "r.html"))
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["quality"]["vmaf_mean"] is None
    assert "no ffmpeg that runs" in found["quality"]["not_measured"]
    assert "not measured: there is no ffmpeg that runs" in Page(tmp_path / "r.html").text
