"""A real browser: the system's Chromium without a window, driven by Playwright."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from media import Coding, write_numbered
from playwright.sync_api import Browser, Page, sync_playwright

import cogvae_cli as cogvae

# The rest of the package is imported by the fixtures: pytest reads this file before shapes are checked.

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser():
    """The browser process."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.fail(f"none of {', '.join(PROGRAMS)} is installed; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="session")
def built_in(tmp_path_factory) -> Path:
    """The report of the built-in clip."""
    from cogvae_cli.pipeline.roundtrip_options import RoundtripOptions

    path = tmp_path_factory.mktemp("built-in") / "r.html"
    cogvae.roundtrip_file(options=RoundtripOptions(report=path))
    return path


@pytest.fixture(scope="session")
def tiled(tmp_path_factory) -> Path:
    """The report of a small clip in tiles, whose films lie beside the page and whose name is hostile."""
    from cogvae_cli.pipeline import report_page
    from cogvae_cli.pipeline.gates import Gates
    from cogvae_cli.pipeline.options import TileOptions
    from cogvae_cli.pipeline.roundtrip_options import RoundtripOptions

    folder = tmp_path_factory.mktemp("tiled")
    clip = write_numbered(folder / "<img src=x onerror=alert(1)>.mkv", 21, (96, 64), 12, Coding(pix_fmt="yuv444p"))
    options = RoundtripOptions(
        report=folder / "a b#c.html", tiles=TileOptions("64x64"), gates=Gates(psnr=90, ssim=0.1, vmaf=1)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_page, "EMBEDDED_BYTES", 10)
        cogvae.roundtrip_file(clip, model="tiny", options=options)
    return folder / "a b#c.html"


@pytest.fixture(scope="session")
def compared(tiled) -> Path:
    """The report of a clip compared with itself."""
    from cogvae_cli.pipeline.compare import CompareOptions

    clip = next(path for path in tiled.parent.iterdir() if path.suffix == ".mkv")
    path = tiled.parent / "same.html"
    cogvae.compare_files(clip, clip, options=CompareOptions(report=path))
    return path


class Watched:
    """An open page, and all that it said or asked for."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page = page
        self.words: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.words.append(message.text))
        page.on("pageerror", lambda error: self.words.append(str(error)))
        page.on("dialog", lambda dialog: (self.words.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("requestfailed", lambda request: self.words.append(f"failed: {request.url[:80]}"))
        page.goto(path.as_uri())
        self.wait_until("[...document.querySelectorAll('video')].every((film) => film.readyState >= 3)")

    def wait_until(self, condition: str) -> None:
        """Asks again and again, from outside: the page's policy lets nothing be evaluated inside it."""
        end = time.monotonic() + 20
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"{condition} has not come true"
            self.page.wait_for_timeout(20)


@pytest.fixture
def open_page(browser: Browser):
    """Opens a report at a width, in a theme."""
    contexts = []

    def open_it(path: Path, width: int = 1440, theme: str = "light", scripts: bool = True) -> Watched:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, java_script_enabled=scripts
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        return Watched(page, path) if scripts else without_scripts(page, path)

    yield open_it
    for context in contexts:
        context.close()


def without_scripts(page: Page, path: Path) -> Page:
    page.goto(path.as_uri())
    return page
