"""`cogvae info`: what a video, a latents file or a model is."""

from __future__ import annotations

from typing import Annotated

import typer

from cogvae_cli.cli import options
from cogvae_cli.cli.terminal import TerminalProgress, print_json, print_lines, table


def info(
    target: Annotated[
        str, typer.Argument(metavar="FILE|MODEL", help="A video, a latents file, or a model.", show_default=False)
    ],
    count: Annotated[
        bool, typer.Option("--count", help="Decode the video to count its frames; the file's own count may be wrong.")
    ] = False,
    revision: options.Revision = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Tell what a video, a latents file or a model is.

    Examples:

      cogvae info clip.mp4

      cogvae info clip.mp4 --count

      cogvae info clip.npz --json

      cogvae info tiny
    """
    from cogvae_cli.pipeline.info import describe

    facts = describe(target, count=count, revision=revision, progress=TerminalProgress(quiet=quiet))
    if as_json:
        print_json(facts.as_dict())
    else:
        print_lines(table(facts.rows()))
