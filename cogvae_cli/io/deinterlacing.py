"""One whole frame of the two fields of each interlaced one, by FFmpeg's bwdif; as many frames as there were."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
from av.filter import Graph

from cogvae_cli.errors import VideoError
from cogvae_cli.io.rates import exact_fraction


def deinterlaced(frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Frames of one size and format, each with the time stamp that it had; three of them are held at a time."""
    graph: Graph | None = None
    waiting: deque[av.VideoFrame] = deque()
    for count, frame in enumerate(frames):
        if graph is None:
            graph = _checked_graph(frame)
        waiting.append(frame)
        # Stamps may be missing, and the filter needs some: it gets the frames' numbers.
        stamp, frame.pts = frame.pts, count
        graph.push(frame)
        frame.pts = stamp
        yield from _ready(graph, waiting)
    if graph is not None:
        graph.push(None)
        yield from _ready(graph, waiting)


def _checked_graph(frame: av.VideoFrame) -> Graph:
    try:
        return _graph(frame)
    except av.FFmpegError as error:
        raise VideoError(
            f"frames of {frame.width}x{frame.height} in {frame.format.name} can't be deinterlaced",
            hint="leave out --deinterlace",
        ) from error


def _graph(frame: av.VideoFrame) -> Graph:
    graph = Graph()
    tick = exact_fraction(frame.time_base) or Fraction(1, 25)
    steps = [
        graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=tick),
        graph.add("bwdif", "mode=send_frame:parity=auto:deint=all"),
        graph.add("buffersink"),
    ]
    for step, following in itertools.pairwise(steps):
        step.link_to(following)
    graph.configure()
    return graph


def _ready(graph: Graph, waiting: deque[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    while True:
        try:
            made = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        if not isinstance(made, av.VideoFrame):
            raise TypeError(f"the filter gave {made}")
        source = waiting.popleft()
        made.pts, made.time_base, made.duration = source.pts, source.time_base, source.duration
        yield made
