"""Latents as other programs lay them out, and converting them; several tests share these."""

from __future__ import annotations

import dataclasses

import numpy as np

from cogvae_cli.io.torch_file import BARE, locate_tensors, read_tensor, write_tensors
from cogvae_cli.pipeline.convert import convert_file
from cogvae_cli.pipeline.convert_plan import ConvertOptions
from cogvae_cli.pipeline.importing import ImportOptions
from cogvae_cli.pipeline.progress import Progress


class Told(Progress):
    def __init__(self):
        self.notices = []

    def notice(self, text):
        self.notices.append(text)


def convert(source, output, model=None, progress=None, **choices):
    """Options by name: those that describe the foreign file, and the others."""
    known = {field.name for field in dataclasses.fields(ImportOptions)}
    about = ImportOptions(**{name: value for name, value in choices.items() if name in known})
    rest = {name: value for name, value in choices.items() if name not in known}
    return convert_file(source, output, model=model, options=ConvertOptions(about, **rest), progress=progress)


def pt(path, array, dtype="float32", name=BARE):
    with path.open("wb") as file:
        write_tensors(file, {name: array}, dtype, {})
    return path


def pt_arrays(path):
    with path.open("rb") as file:
        found = locate_tensors(file)
        return {name: read_tensor(file, found, tensor) for name, tensor in found.tensors.items()}


LAYOUTS = {
    "BCTHW": (3, 0, 1, 2),
    "BTCHW": (0, 3, 1, 2),
    "CTHW": (3, 0, 1, 2),
    "TCHW": (0, 3, 1, 2),
    "THWC": (0, 1, 2, 3),
}


def laid_out(latents, layout):
    moved = np.ascontiguousarray(latents.transpose(LAYOUTS[layout]))
    return moved[None] if layout.startswith("B") else moved
