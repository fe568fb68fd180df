"""Proves that each known fault of a port is caught: applies it to a copy of the package and runs the test against it.

The faults are those that other ports of this network have shown. Every test must pass on the package as it is and fail
on the copy with its fault.

    python tools/mutants.py            runs all; exits with 1 if a fault survives
    python tools/mutants.py --write    also writes the result into docs/numerics.md
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs" / "numerics.md"
START, END = "<!-- faults -->\n", "<!-- end of faults -->"


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault, the edit that makes it, and the test that must notice."""

    number: str
    what: str
    file: str
    edits: tuple[tuple[str, str], ...]
    """What the file holds once, and what stands there instead."""
    test: str


FAULTS = (
    Fault(
        "1",
        "frames averaged in pairs without moving time next to them: pixels and frames get mixed",
        "model/layers.py",
        (
            (
                "rest = (rest[:, 0::2] + rest[:, 1::2]) * 0.5",
                "rest = jnp.mean(rest.reshape(rest.shape[0], 2, rest.shape[1] // 2, *rest.shape[2:]), axis=1)",
            ),
        ),
        "test_layers.py::test_pairs_of_frames_are_averaged_pixel_by_pixel",
    ),
    Fault(
        "2",
        "float32 convolutions without precision on TPU",
        "model/convolution.py",
        (
            (
                '        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),\n        precision=precision,',
                '        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),',
            ),
        ),
        "test_platforms.py::test_float32_products_ask_the_tpu_for_highest_precision",
    ),
    Fault(
        "3",
        "a single frame upsampled to two: an image decodes to four frames",
        "model/layers.py",
        (("(2 * frames - frames % 2, height", "(2 * frames if frames == 1 else 2 * frames - frames % 2, height"),),
        "test_layers.py::test_frame_0_of_an_odd_count_is_not_doubled_in_time[1-1]",
    ),
    Fault(
        "4",
        "cache taken from the raw input instead of the padded one",
        "model/layers.py",
        (
            (
                "x = jnp.concatenate([cache, x], axis=1)  # [B 2+T H W I]",
                "raw = x\n        x = jnp.concatenate([cache, x], axis=1)",
            ),
            ("x[:, -HISTORY:]", "raw[:, -HISTORY:]"),
        ),
        "test_layers.py::test_a_stream_that_starts_with_one_frame_still_remembers_two",
    ),
    Fault(
        "5",
        "the norms steered by something else than the latent chunk",
        "model/vae.py",
        (('x, new[f"up_{index}"] = block(x, z, ', 'x, new[f"up_{index}"] = block(x, jnp.flip(z, axis=1), '),),
        "test_goldens.py::test_the_outputs_are_those_of_diffusers[tiny T=9 96x64]",
    ),
    Fault(
        "6",
        "log-variance not clamped",
        "model/vae.py",
        (("return jnp.clip(logvar, *LOGVAR_RANGE)", "return logvar"),),
        "test_autoencoder.py::test_logvar_is_clamped_as_upstream_clamps_it",
    ),
    Fault(
        "7",
        "blended tiles not written back: later tiles meet unblended neighbours",
        "model/tiling.py",
        (
            ("blended[i - 1][j], tile", "tiles[i - 1][j], tile"),
            ("blended[i][j - 1], tile", "tiles[i][j - 1], tile"),
        ),
        "test_goldens.py::test_the_outputs_are_those_of_diffusers[tiny T=1 72x104 tiled]",
    ),
    Fault(
        "8",
        "norm statistics in bfloat16",
        "model/numerics.py",
        (("STATISTICS = jnp.float32", "STATISTICS = jnp.bfloat16"),),
        "test_layers.py::test_norm_statistics_are_float32_when_the_network_computes_in_bfloat16",
    ),
    Fault(
        "9",
        "chunks chunked a second time, each as a clip of its own",
        "model/autoencoder.py",
        (("        part, caches = step(piece, caches)\n", "        part, caches = step(piece, None)\n"),),
        "test_goldens.py::test_the_outputs_are_those_of_diffusers[tiny T=17 96x64]",
    ),
    Fault(
        "10",
        "encoder chunks of 4 frames",
        "model/chunks.py",
        (("FRAMES = 8\n", "FRAMES = 4\n"),),
        "test_goldens.py::test_the_outputs_are_those_of_diffusers[tiny T=17 96x64]",
    ),
    Fault(
        "11",
        "pixels fed as [0, 1] instead of [-1, 1]",
        "model/vae.py",
        (("/ 127.5 - 1.0", "/ 255.0"), ("/ np.float32(127.5) - np.float32(1)", "/ np.float32(255)")),
        "test_autoencoder.py::test_pixels_and_floats_encode_alike",
    ),
    Fault(
        "11b",
        "every video written at 8 frames a second",
        "pipeline/video_options.py",
        (("(frames.width, frames.height), timing.rate,", "(frames.width, frames.height), Fraction(8),"),),
        "test_main_job.py::test_a_height_that_is_no_multiple_of_8_comes_back_as_it_was",
    ),
    Fault(
        "5b",
        "latents divided by the scaling factor twice",
        "pipeline/decode.py",
        (("[None] / self._factor", "[None] / self._factor / self._factor"),),
        "test_pipeline_models.py::test_scaled_and_half_stored_latents_decode_to_the_same_picture[options0]",
    ),
    Fault(
        "12",
        "latents of one family decoded with another's factor",
        "pipeline/models.py",
        (("        check_factor(header, vae.source.name, vae.scaling_factor, force=False)\n", ""),),
        "test_convert.py::test_imported_latents_decode_with_a_model_of_their_family_only",
    ),
)


def _mutate(package: pathlib.Path, fault: Fault) -> None:
    path = package / fault.file
    text = path.read_text()
    for right, wrong in fault.edits:
        if text.count(right) != 1:
            raise SystemExit(f"fault {fault.number}: {fault.file} holds {right!r} {text.count(right)} times, not once")
        text = text.replace(right, wrong)
    path.write_text(text)


def _passes(home: pathlib.Path, tests: list[str]) -> bool:
    """Whether the tests pass on the package in `home`."""
    environment = os.environ | {"PYTHONPATH": str(home), "COGVAE_TEST_INSTALLED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):  # 1: a test failed; anything else: no test ran
        raise SystemExit(f"pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.returncode == 0


def _home(parent: pathlib.Path, name: str) -> pathlib.Path:
    """A folder with a copy of the package and of the tests."""
    home = parent / name
    for folder in ("cogvae_cli", "tests"):
        shutil.copytree(ROOT / folder, home / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", home)
    return home


def main() -> int:
    """Runs all faults; returns the exit code."""
    survived = []
    rows = ["| fault | test that kills it | as it is | with the fault |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory(prefix="cogvae-mutants-") as folder:
        clean = _home(pathlib.Path(folder), "clean")
        sound = _passes(clean, sorted({f"tests/{fault.test}" for fault in FAULTS}))
        for fault in FAULTS:
            home = _home(pathlib.Path(folder), f"fault-{fault.number}")
            _mutate(home / "cogvae_cli", fault)
            killed = not _passes(home, [f"tests/{fault.test}"])
            shutil.rmtree(home)
            if not (sound and killed):
                survived.append(fault.number)
            as_is, mutated = "passes" if sound else "FAILS", "fails" if killed else "SURVIVES"
            rows.append(f"| {fault.number}. {fault.what} | `{fault.test}` | {as_is} | {mutated} |")
            print(rows[-1], flush=True)
    if "--write" in sys.argv[1:]:
        before, after = DOCS.read_text().split(START)[0], DOCS.read_text().split(END)[1]
        DOCS.write_text(before + START + "\n".join(rows) + "\n" + END + after)
    print(f"{len(FAULTS) - len(survived)} passed, {len(survived)} failed")
    return 1 if survived else 0


if __name__ == "__main__":
    raise SystemExit(main())
