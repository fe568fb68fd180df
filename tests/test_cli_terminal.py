"""What a run says on stderr: a bar on a terminal, lines elsewhere, nothing when quiet."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import termios
import threading
import time

import pytest

from cogvae_cli.cli.terminal import TerminalProgress, bytes_text, table


def run(progress: TerminalProgress, total: int | None = 17) -> None:
    """What an encode tells."""
    progress.phase("loading model tiny")
    progress.begin(total)
    progress.phase("compiling the network for 64x48, once per size and run; it may take minutes")
    progress.phase("encoding")
    progress.notice("the last frame is repeated")
    for count in (9, 8):
        time.sleep(0.11)  # a bar is drawn ten times a second at most
        progress.advance(count)
    progress.end()


def on_a_terminal(quiet: bool = False, total: int | None = 17) -> str:
    """What appears on a real pseudo-terminal."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 120, 0, 0))
    received: list[bytes] = []

    def read() -> None:
        while True:
            try:
                data = os.read(ours, 4096)
            except OSError:  # Linux's way to say that the other side is closed
                return
            if not data:
                return
            received.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    with open(theirs, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a file descriptor
        run(TerminalProgress(quiet=quiet, stream=stream), total)
    reader.join(10)
    os.close(ours)
    return b"".join(received).decode()


def test_without_a_terminal_there_are_plain_lines():
    stream = io.StringIO()
    run(TerminalProgress(quiet=False, stream=stream))
    assert stream.getvalue().splitlines() == [
        "loading model tiny",
        "compiling the network for 64x48, once per size and run; it may take minutes",
        "encoding",
        "notice: the last frame is repeated",
    ]


def test_quiet_is_quiet():
    stream = io.StringIO()
    run(TerminalProgress(quiet=True, stream=stream))
    assert stream.getvalue() == ""
    assert on_a_terminal(quiet=True) == ""


def test_a_terminal_shows_a_bar_and_names_the_compiling():
    shown = on_a_terminal()
    assert "compiling the network for 64x48" in shown
    assert "notice: the last frame is repeated" in shown
    assert "17/17" in shown
    assert "frames/s" in shown


def test_a_bar_without_a_total_counts_up():
    shown = on_a_terminal(total=None)
    assert "9 frames" in shown
    assert "/17" not in shown


def test_the_bar_is_gone_at_the_end():
    progress = TerminalProgress(quiet=False, stream=io.StringIO())
    progress.end()
    progress.end()


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_234_567, "1.2 MB"), (10**10, "10.0 GB"), (2 * 10**12, "2.0 TB")],
)
def test_bytes_are_written_in_powers_of_a_thousand(count, text):
    assert bytes_text(count) == text


def test_values_stand_in_one_column():
    assert table([("a", "1"), ("longer", "2")]) == ["a       1", "longer  2"]
