"""The report in a real browser: quiet, self-contained, quick, and all of it works by mouse, keyboard and without."""

from __future__ import annotations

import itertools
import re

import pytest

pytestmark = pytest.mark.browser

WIDTHS, THEMES = (390, 1440), ("light", "dark")

CONTRAST = """() => {
  const channel = (v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0.9) return colour;
    }
    return parse(getComputedStyle(document.documentElement).backgroundColor);
  };
  const poor = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest("svg, script")) continue;
    const pair = [luminance(parse(getComputedStyle(element).color)), luminance(behind(element))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) poor.push(`${element.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""

OVERLAPS = """() => [...document.querySelectorAll('.plot')].flatMap((plot) => {
  const found = [];
  for (const kind of ['.x', '.y']) {
    const boxes = [...plot.querySelectorAll(kind)].map((label) => label.getBoundingClientRect());
    for (let i = 1; i < boxes.length; i++) {
      const [a, b] = [boxes[i - 1], boxes[i]];
      if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom) found.push(kind);
    }
    for (const box of boxes) if (box.left < 0 || box.right > innerWidth) found.push('out');
  }
  return found;
})"""


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("report", ["built_in", "tiled", "compared"])
def test_it_is_quiet_asks_for_nothing_and_fits(report, width, theme, request, open_page, tmp_path):
    path = request.getfixturevalue(report)
    opened = open_page(path, width, theme)
    page = opened.page
    assert opened.words == []
    allowed = [path.as_uri(), *(film.as_uri() for film in path.parent.glob(f"{path.stem}.*.mp4"))]
    assert [url for url in opened.requests if not url.startswith("data:") and url not in allowed] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", dark))) < 150) is (theme == "dark")
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(OVERLAPS) == []
    page.screenshot(path=tmp_path / "whole.png", full_page=True)


def test_the_built_in_report_is_small_and_opens_within_a_second(built_in, open_page):
    assert built_in.stat().st_size < 5_000_000
    taken = []
    for _ in range(3):
        page = open_page(built_in).page
        taken.append(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
    assert min(taken) < 1000


def test_all_that_it_promises_is_on_it(built_in, open_page):
    page = open_page(built_in).page
    for chart in ("psnr", "ssim", "vmaf", "xpsnr_y", "row", "column"):
        line = page.locator(f"[data-chart={chart}] .line")
        assert line.bounding_box()["width"] > 300
    assert page.locator("[data-chart=psnr] .mark").count() == 5  # chunks begin at 9, 17, 25, 33 and 41
    assert page.locator(".channels li").count() == 16
    assert page.locator(".compare").count() == 3
    assert page.locator("video").count() == 2
    assert page.locator(".heat image").count() == 1
    for words in ("PSNR", "SSIM", "VMAF", "XPSNR", "Compression", "Time by stage", "Versions", "identity (sha256)"):
        assert page.get_by_text(words, exact=True).first.is_visible()


def test_the_borders_of_tiles_are_drawn(tiled, open_page):
    page = open_page(tiled).page
    stripe = page.locator("[data-chart=column] .stripe").bounding_box()
    plot = page.locator("[data-chart=column] svg").bounding_box()
    assert (stripe["x"] - plot["x"]) / plot["width"] == pytest.approx(32 / 96, abs=0.01)
    assert stripe["width"] / plot["width"] == pytest.approx(32 / 96, abs=0.01)
    assert page.locator(".heat .border").count() == 1
    assert page.locator(".gate.missed").count() == 1
    assert page.locator(".gate.passed").count() == 2


def test_the_slider_is_moved_by_keys(built_in, open_page):
    page = open_page(built_in).page
    slider = page.locator(".compare input").first
    slider.focus()
    before = page.evaluate("getComputedStyle(document.querySelector('.over')).clipPath")
    for key, value in (("ArrowRight", "51"), ("ArrowLeft", "50"), ("Home", "0"), ("End", "100")):
        page.keyboard.press(key)
        assert slider.input_value() == value
        assert page.locator(".stage").first.evaluate("(stage) => stage.style.getPropertyValue('--at')") == f"{value}%"
    assert page.evaluate("getComputedStyle(document.querySelector('.over')).clipPath") != before
    assert slider.get_attribute("aria-valuetext") == "100 percent"


def test_the_slider_is_dragged_on_the_picture(built_in, open_page):
    page = open_page(built_in).page
    stage = page.locator(".stage").nth(1)
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 60, steps=5)
    page.mouse.up()
    assert int(page.locator(".compare input").nth(1).input_value()) == pytest.approx(20, abs=1)
    assert page.locator(".compare input").nth(0).input_value() == "50"


TIMES = "() => [...document.querySelectorAll('video')].map((film) => film.currentTime)"


@pytest.mark.parametrize("report", ["built_in", "tiled"])
def test_the_films_play_in_step(report, request, open_page):
    opened = open_page(request.getfixturevalue(report))
    page, play = opened.page, opened.page.locator("#play")
    rate = float(page.locator(".films").get_attribute("data-rate"))
    play.click()
    opened.wait_until("document.querySelector('video').currentTime > 0.4")
    assert play.text_content() == "Pause"
    play.click()
    first, second = page.evaluate(TIMES)
    assert abs(first - second) < 0.5 / rate
    assert page.evaluate("[...document.querySelectorAll('video')].every((film) => film.paused)")
    assert int(page.locator("#frame").input_value()) > 3
    assert opened.words == []


def test_the_films_end_and_start_again(tiled, open_page):
    opened = open_page(tiled)
    page = opened.page
    page.locator("#frame").focus()
    page.keyboard.press("End")
    page.locator("#play").click()
    opened.wait_until("document.querySelector('video').currentTime < 1")
    opened.wait_until("document.querySelector('video').ended")
    assert page.locator("#play").text_content() == "Play"
    assert page.locator("#frame").input_value() == "20"


def test_frames_are_stepped_through_and_told(built_in, open_page):
    page = open_page(built_in).page
    page.locator("#forth").click()
    page.locator("#forth").click()
    page.locator("#back").click()
    assert page.locator("#frame").input_value() == "1"
    assert page.locator("#frame-figures").text_content().startswith("1 of 48: PSNR 20.")
    assert all(0.04 < time < 0.08 for time in page.evaluate(TIMES))
    page.locator("#frame").focus()
    page.keyboard.press("End")
    assert page.locator("#frame-figures").text_content().startswith("48 of 48")
    cursor = page.locator("[data-chart=psnr] .cursor").bounding_box()
    plot = page.locator("[data-chart=psnr] svg").bounding_box()
    assert (cursor["x"] - plot["x"]) / plot["width"] == pytest.approx(48.5 / 49, abs=0.01)


def test_every_control_is_reached_by_the_tab_key_and_shows_it(built_in, open_page):
    page = open_page(built_in).page
    reached = []
    for _ in range(7):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.getAttribute('aria-label')"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert reached[:4] == ["play", "back", "forth", "frame"]
    assert all("How much of the original" in name for name in reached[4:])


def test_it_prints_without_controls_and_with_both_pictures(built_in, open_page):
    page = open_page(built_in, theme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.locator(".controls").is_visible()
    assert not page.locator(".compare input").first.is_visible()
    left, right = (page.locator(".stage").first.locator("img").nth(index).bounding_box() for index in (1, 0))
    assert left["x"] + left["width"] <= right["x"]
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_without_scripts_both_pictures_are_there_and_films_have_controls(built_in, open_page):
    page = open_page(built_in, scripts=False)
    images = page.locator(".stage").first.locator("img")
    left, right = (images.nth(index).bounding_box() for index in (0, 1))
    assert left["x"] + left["width"] <= right["x"] or right["x"] + right["width"] <= left["x"]
    assert page.locator("video[controls]").count() == 2
    assert not page.locator("#play").is_visible()


def test_the_accessibility_tree_names_what_is_there(built_in, open_page):
    page = open_page(built_in).page
    tree = page.locator("body").aria_snapshot()
    assert not re.search(r"^\s*- .?(img|slider|button)( \[[^\]]*\])*:?\s*$", tree, re.MULTILINE), (
        "something has no name"
    )
    assert len(re.findall(r"^\s*- .?img \S", tree, re.MULTILINE)) == 9 + 16 + 7
    headings = re.findall(r'heading "([^"]+)" \[level=(\d)\]', tree)
    assert headings[0][1] == "1"
    levels = [int(level) for _, level in headings]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
