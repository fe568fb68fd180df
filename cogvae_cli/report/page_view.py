"""What the page's template needs besides the facts themselves: charts, key figures, rows of tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cogvae_cli.report.charts import Axis, Chart, bar_path, line_chart
from cogvae_cli.report.heat import heat_stops
from cogvae_cli.report.page_text import DASH, bytes_text, number_text, seconds_text

Facts = Mapping[str, Any]


class Figure(NamedTuple):
    """A key figure."""

    name: str
    value: str
    note: str


class Row(NamedTuple):
    """One line of a table of facts."""

    name: str
    value: str


def view(facts: Facts) -> dict[str, Any]:
    """Everything that is drawn or told, ready for the template."""
    return {
        "title": _title(facts),
        "is_roundtrip": facts["kind"] == "roundtrip",
        "result_word": "reconstruction" if facts["kind"] == "roundtrip" else "second video",
        "original_word": "original" if facts["kind"] == "roundtrip" else "first video",
        "key_figures": _key_figures(facts),
        "by_frame": _frame_charts(facts),
        "chunk_note": _chunk_note(facts),
        "by_place": _place_charts(facts),
        "tile_note": _tile_note(facts),
        "heat": _heat_text(facts),
        "heat_stops": heat_stops(),
        "latents": _latents(facts),
        "stages": _stages(facts),
        "ran": _ran(facts),
        "sizes": _sizes(facts),
    }


def _title(facts: Facts) -> str:
    if facts["kind"] == "roundtrip":
        return f"{facts['input']['name']} through {facts['model']['name']} and back"
    return f"{facts['input']['name']} and {facts['second_input']['name']} compared"


def _key_figures(facts: Facts) -> list[Figure]:
    quality = facts["quality"]
    same = quality["identical"]
    psnr = "identical" if same else f"{number_text(quality['psnr_mean'])} dB"
    of_mean = f"mean over frames; {number_text(quality['psnr_of_mean_mse'])} dB of the mean error"
    figures = [
        Figure("PSNR", psnr, "every pixel is the same" if same else of_mean),
        Figure("SSIM", number_text(quality["ssim_mean"], 4), "mean over frames; 1 is perfect"),
        Figure(
            "VMAF", number_text(quality["vmaf_mean"], 1), _reason(quality, "vmaf_mean", "mean over frames; 0 to 100")
        ),
    ]
    xpsnr = None if quality["xpsnr_y"] is None else f"{number_text(quality['xpsnr_y'])} dB"
    if xpsnr is None and same:
        figures.append(Figure("XPSNR", "identical", "no error in luma"))
    else:
        figures.append(Figure("XPSNR", xpsnr or DASH, _reason(quality, "xpsnr_y", "luma, weighted as eyes do")))
    if facts["kind"] == "roundtrip":
        ratio = facts["sizes"]["bytes_ratio"]
        figures.append(Figure("Compression", f"{ratio:.4g} : 1", "plain 8-bit RGB to bfloat16 latents"))
    return figures


def _reason(quality: Facts, metric: str, note: str) -> str:
    return note if quality[metric] is not None else f"not measured: {quality['not_measured']}"


_BY_FRAME = (("psnr", "PSNR by frame", "dB", 2), ("ssim", "SSIM by frame", "", 4), ("vmaf", "VMAF by frame", "", 1))


def _frame_charts(facts: Facts) -> list[Chart]:
    charts = []
    for name, title, unit, digits in (*_BY_FRAME, ("xpsnr_y", "XPSNR (luma) by frame", "dB", 2)):
        values = facts["by_frame"][name]
        text = _series_text(title, values, f" {unit}" if unit else "", digits)
        chart = line_chart(name, f"{title}{f', {unit}' if unit else ''}", text, values, Axis("frame", _chunks(facts)))
        if chart is not None:
            charts.append(chart)
    return charts


def _chunks(facts: Facts) -> list[float]:
    """Numbers of the frames that open a chunk, without the first."""
    if "chunks" not in facts:
        return []
    return list(range(facts["chunks"]["first"], facts["frames"], facts["chunks"]["rest"]))


def _series_text(title: str, values: Sequence[float | None], unit: str, digits: int) -> str:
    there = [(value, index) for index, value in enumerate(values) if value is not None]
    if not there:
        return f"{title}: no figures."
    (low, low_at), (high, high_at) = min(there), max(there)
    mean = math.fsum(value for value, _ in there) / len(there)
    return (
        f"{title}: mean {mean:.{digits}f}{unit}, from {low:.{digits}f}{unit} (frame {low_at}) to "
        f"{high:.{digits}f}{unit} (frame {high_at})."
    )


def _chunk_note(facts: Facts) -> str:
    """What the frames at chunk borders are like, for a seam would show here."""
    borders = set(_chunks(facts))
    values = facts["by_frame"]["psnr"]
    at = [value for index, value in enumerate(values) if index in borders and value is not None]
    others = [value for index, value in enumerate(values) if index not in borders and value is not None]
    if not borders:
        return ""
    text = f"Vertical lines mark where a chunk begins: after {facts['chunks']['first']} frames, then every "
    text += f"{facts['chunks']['rest']}"
    text += " (left out where they would lie too close)." if len(borders) > 80 else "."
    if at and others:
        means = (math.fsum(part) / len(part) for part in (at, others))
        text += " Frames that open a chunk have a mean PSNR of {:.2f} dB, all others of {:.2f} dB.".format(*means)
    return text


def _place_charts(facts: Facts) -> list[Chart]:
    borders = facts.get("tile_borders") or {"rows": [], "columns": []}
    charts = []
    for name, key, from_where in (("row", "rows", "from the top"), ("column", "columns", "from the left")):
        values = facts[f"by_{name}"]["rmse"]
        title = f"Error by {name}"
        text = _series_text(title, values, "", 2).replace("frame", name)
        stripes = [(start, max(stop, start + 1)) for start, stop in borders[key]]
        axis = Axis(f"{name}, {from_where}", [start for start, _ in borders[key]], stripes)
        chart = line_chart(name, f"{title}, root mean square in 8-bit levels", text, values, axis)
        if chart is not None:
            charts.append(chart)
    return charts


def _tile_note(facts: Facts) -> str:
    borders = facts.get("tile_borders")
    if borders is None:
        return "Frames were computed whole: there are no tile borders." if facts["kind"] == "roundtrip" else ""
    parts = []
    for name in ("row", "column"):
        values, spans = facts[f"by_{name}"]["rmse"], borders[f"{name}s"]
        inside = {place for start, stop in spans for place in range(start, max(stop, start + 1))}
        groups = [[v * v for i, v in enumerate(values) if (i in inside) is there] for there in (True, False)]
        if all(groups):
            at, others = (math.sqrt(math.fsum(group) / len(group)) for group in groups)
            parts.append(f"{name}s where tiles meet have an error of {at:.2f}, others of {others:.2f}")
    return "Shaded: where tiles overlap. " + ("; ".join(parts).capitalize() + "." if parts else "")


def _heat_text(facts: Facts) -> dict[str, Any]:
    cells = facts["cells"]["rmse"]
    flat = [(value, row, column) for row, line in enumerate(cells) for column, value in enumerate(line)]
    top, row, column = max(flat)
    size = facts["cells"]["pixels"]
    return {
        "top": top,
        "columns": len(cells[0]) * size,
        "rows": len(cells) * size,
        "text": f"Root mean square error of each {f'square of {size}x{size} pixels' if size > 1 else 'pixel'} over all "
        f"frames, in 8-bit levels. The largest, {top:.2f}, lies at the "
        f"{_where(row, len(cells), ('top', 'middle', 'bottom'))} "
        f"{_where(column, len(cells[0]), ('left', 'centre', 'right'))}; the mean is "
        f"{math.fsum(value for value, _, _ in flat) / len(flat):.2f}.",
    }


def _where(index: int, count: int, names: tuple[str, str, str]) -> str:
    return names[min(2, 3 * index // count)]


def _latents(facts: Facts) -> list[dict[str, Any]]:
    if facts["kind"] != "roundtrip":
        return []
    return [
        {"number": index, "path": bar_path(channel["histogram"]), **channel}
        for index, channel in enumerate(facts["latents"]["channels"])
    ]


def _stages(facts: Facts) -> list[dict[str, Any]]:
    """Stages from the longest to the shortest, and their share of the longest in percent."""
    stages = sorted(facts["stages"].items(), key=lambda item: -item[1])
    top = max((seconds for _, seconds in stages), default=0) or 1
    return [
        {"name": name.replace("_", " "), "text": seconds_text(seconds), "share": round(100 * seconds / top, 1)}
        for name, seconds in stages
    ]


def _ran(facts: Facts) -> list[tuple[str, list[Row]]]:
    """Titled tables of what the figures depend on."""
    groups = [("Input", _input_rows(facts, facts["input"]))]
    if facts["kind"] == "roundtrip":
        model = facts["model"]
        rows = [Row("name", model["name"]), Row("revision", model["revision"] or DASH)]
        groups.append(("Model", [*rows, Row("identity (sha256)", model["identity"])]))
    else:
        groups.append(("Second input", _input_rows(facts, facts["second_input"])))
    groups.append(("Settings", [Row(name.replace("_", " "), str(value)) for name, value in facts["settings"].items()]))
    machine = facts["machine"]
    device = f"{machine['count']} x {machine['kind']} ({machine['platform']})"
    groups.append(("Device", [Row("device", device), Row("system", machine["system"])]))
    groups.append(("Versions", [Row(name, version) for name, version in facts["versions"].items()]))
    return groups


def _input_rows(facts: Facts, info: Facts) -> list[Row]:
    colour = info["colour"]
    matrix = colour["matrix"] or "none"
    return [
        Row("file", info["name"]),
        Row("frames", f"{facts['frames']} of {info['width']}x{info['height']}"),
        Row("rate", f"{info['rate'] or 'unknown'} frames/s{', varying' if facts['variable_rate'] else ''}"),
        Row("coding", f"{info['codec']} {info['pix_fmt']} in {info['container']}"),
        Row("colours", f"{matrix}{' (assumed)' if colour['assumed'] else ''}, range {colour['range'] or 'not named'}"),
        Row("size", bytes_text(info["bytes"])),
    ]


def _sizes(facts: Facts) -> list[Row]:
    sizes, rows = facts["sizes"], [Row("source file", bytes_text(facts["sizes"]["source_bytes"]))]
    rows.append(Row("plain 8-bit RGB", bytes_text(sizes["plain_rgb_bytes"])))
    if facts["kind"] == "roundtrip":
        shape = " x ".join(map(str, facts["latents"]["shape"]))
        rows += [
            Row("latents (frames x height x width x channels)", shape),
            Row("latents as float32", bytes_text(sizes["latents_float32_bytes"])),
            Row("latents as bfloat16", bytes_text(sizes["latents_bfloat16_bytes"])),
            Row("RGB values for a latent value", f"{sizes['values_ratio']:.4g}"),
        ]
    else:
        rows.insert(1, Row("second file", bytes_text(sizes["second_source_bytes"])))
    memory = facts["memory"]
    rows.append(Row("highest memory of the process", bytes_text(memory["process_peak_bytes"])))
    device = memory["device_peak_bytes"]
    rows.append(Row("highest memory of the device", "not told by the device" if device is None else bytes_text(device)))
    return rows
