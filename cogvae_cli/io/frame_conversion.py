"""RGB frames as an encoder takes them: by BT.709 in limited range, as RGB, or with a palette each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import av
import numpy as np
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.reformatter import ColorPrimaries, ColorTrc

from cogvae_cli.io.write_options import Ticks, WriteOptions, ticks_of

_EXACT = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact:in_range=full"
# A filter, for PyAV's reformatter can't place chroma: it would centre it, half a pixel off from where H.264 has it.
_TO_YUV = f"{_EXACT}:out_color_matrix=bt709:out_range=limited:out_chroma_loc=left"
_TO_RGB = f"{_EXACT}:out_range=full"


class FrameConverter:
    """Takes one RGB frame after the other; gives as many, in that order, some of them later."""

    def __init__(self, options: WriteOptions) -> None:
        self._options = options
        self._given = 0
        self._across, self._down = options.padding
        self.ticks: Ticks = ticks_of(options)
        """When each frame is shown."""
        self._graph = _palette_graph(options) if options.container == "gif" else _graph(options)

    def push(self, pixels: np.ndarray) -> Iterator[av.VideoFrame]:
        """Takes the next frame, uint8 [H W 3], and gives those that are ready."""
        if self._across or self._down:
            pixels = np.pad(pixels, ((0, self._down), (0, self._across), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts, frame.time_base = self._given, self.ticks.unit
        self._graph.push(frame)
        yield from self._ready()

    def flush(self) -> Iterator[av.VideoFrame]:
        """Gives the frames that were held back."""
        self._graph.push(None)
        yield from self._ready()

    def _ready(self) -> Iterator[av.VideoFrame]:
        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            if not isinstance(frame, av.VideoFrame):
                raise TypeError(f"the filter gave {frame}")
            frame.pts, frame.time_base = self.ticks.begin(self._given), self.ticks.unit
            frame.duration = self.ticks.length(self._given)
            if not self._options.is_rgb:
                frame.color_primaries, frame.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
            self._given += 1
            yield frame


def _graph(options: WriteOptions) -> Graph:
    graph = Graph()
    scale = graph.add("scale", _TO_RGB if options.is_rgb else _TO_YUV)
    return _linked(graph, [_source(graph, options), scale, *_sink(graph, options.pixel_format)])


def _palette_graph(options: WriteOptions) -> Graph:
    """A palette of its own for each frame, so that none waits for the end of the video."""
    graph = Graph()
    split, palette = graph.add("split"), graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
    use = graph.add("paletteuse", "new=1")
    _source(graph, options).link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(use, 0, 1)
    return _linked(graph, [use, *_sink(graph, "pal8")])


def _source(graph: Graph, options: WriteOptions) -> FilterContext:
    across, down = options.padding
    return graph.add_buffer(
        width=options.width + across,
        height=options.height + down,
        format=av.VideoFormat("rgb24"),
        time_base=ticks_of(options).unit,
    )


def _sink(graph: Graph, pix_fmt: str) -> list[FilterContext]:
    return [graph.add("format", f"pix_fmts={pix_fmt}"), graph.add("buffersink")]


def _linked(graph: Graph, steps: list[FilterContext]) -> Graph:
    for step, following in itertools.pairwise(steps):
        step.link_to(following)
    graph.configure()
    return graph
