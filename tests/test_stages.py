"""The stages beside the computation: bounded, in order, and gone when they should be."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from cogvae_cli.pipeline.stages import Prefetch, WriteBehind

SOON = 5.0
"""Seconds within which a thread that will do something has done it."""


class Stop(BaseException):
    """Stands for Ctrl-C: no Exception."""


def wait_for(condition) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.005)


def stage_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("cogvae-")]


@pytest.fixture(autouse=True)
def no_thread_outlives_its_stage() -> Iterator[None]:
    yield
    assert not stage_threads()


def test_everything_comes_through_in_order():
    with Prefetch(range(100)) as items:
        assert list(items) == list(range(100))


def test_an_exhausted_stage_stays_exhausted():
    with Prefetch([1]) as items:
        assert [*items, *items] == [1]


def test_reading_ahead_is_bounded():
    drawn = []

    def source() -> Iterator[int]:
        for number in range(50):
            drawn.append(number)
            yield number

    with Prefetch(source(), depth=2) as items:
        assert next(items) == 0
        wait_for(lambda: len(drawn) == 4)  # one taken, two waiting, one in the hands of the thread
        time.sleep(0.05)
        assert len(drawn) == 4


def test_a_readers_error_comes_after_what_was_read_before_it():
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("the file ends here")

    with Prefetch(source()) as items:
        assert [next(items), next(items)] == [1, 2]
        with pytest.raises(ValueError, match="the file ends here"):
            next(items)


def test_even_an_error_that_is_no_exception_reaches_the_consumer():
    def source() -> Iterator[int]:
        raise Stop
        yield

    with Prefetch(source()) as items, pytest.raises(Stop):
        next(items)


def test_leaving_early_stops_the_reader():
    drawn = []

    def source() -> Iterator[int]:
        number = 0
        while True:
            drawn.append(number)
            yield number
            number += 1

    def run() -> None:
        with Prefetch(source()) as items:
            next(items)
            raise Stop

    with pytest.raises(Stop):
        run()
    assert not stage_threads()
    assert len(drawn) <= 4


def test_a_closed_reader_gives_no_more():
    items = Prefetch(range(10))
    items.close()
    assert list(items) == []


def test_everything_is_written_in_order():
    written: list[int] = []
    with WriteBehind(written.append) as behind:
        for number in range(100):
            behind.put(number)
    assert written == list(range(100))


def test_writing_behind_is_bounded():
    gate, written, put = threading.Event(), [], []

    def write(number: int) -> None:
        gate.wait(SOON)
        written.append(number)

    def produce(behind: WriteBehind[int]) -> None:
        for number in range(6):
            behind.put(number)
            put.append(number)

    with WriteBehind(write, depth=2) as behind:
        producer = threading.Thread(target=produce, args=(behind,))
        producer.start()
        wait_for(lambda: len(put) == 3)  # one in the hands of the writer, two waiting
        time.sleep(0.05)
        assert len(put) == 3
        gate.set()
        producer.join()
    assert written == list(range(6))


def test_a_writers_error_reaches_the_producer_at_the_next_put():
    def write(number: int) -> None:
        raise OSError("no space left")

    def run() -> None:
        with WriteBehind(write) as behind:
            behind.put(0)
            wait_for(lambda: not stage_threads())
            behind.put(1)

    with pytest.raises(OSError, match="no space left"):
        run()


def test_a_writers_error_at_the_last_item_is_raised_on_leaving():
    def write(number: int) -> None:
        if number == 2:
            raise OSError("no space left")

    def run() -> None:
        with WriteBehind(write) as behind:
            for number in range(3):
                behind.put(number)

    with pytest.raises(OSError, match="no space left"):
        run()


def test_a_producer_that_waits_for_room_hears_of_the_writers_error():
    gate = threading.Event()

    def write(number: int) -> None:
        gate.wait(SOON)
        raise OSError("no space left")

    threading.Timer(0.05, gate.set).start()

    def run() -> None:
        with WriteBehind(write) as behind:
            for number in range(10):
                behind.put(number)

    with pytest.raises(OSError, match="no space left"):
        run()


def test_after_an_error_what_waits_is_not_written():
    gate, written = threading.Event(), []

    def write(number: int) -> None:
        gate.wait(SOON)
        written.append(number)

    threading.Timer(0.05, gate.set).start()

    def run() -> None:
        with WriteBehind(write, depth=2) as behind:
            for number in range(3):
                behind.put(number)
            raise Stop

    with pytest.raises(Stop):
        run()
    assert written == [0]


def test_the_first_error_is_the_one_that_is_told():
    def write(number: int) -> None:
        raise OSError("second")

    def run() -> None:
        with WriteBehind(write) as behind:
            behind.put(0)
            wait_for(lambda: not stage_threads())
            raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        run()


def test_nothing_can_be_put_after_the_end():
    behind = WriteBehind(lambda number: None)
    behind.finish()
    with pytest.raises(RuntimeError, match="after the end"):
        behind.put(1)


def test_a_stage_without_room_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        Prefetch([], depth=0)
