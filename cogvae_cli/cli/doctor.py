"""`cogvae doctor`: what this machine has and lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from cogvae_cli.cli import options
from cogvae_cli.cli.terminal import TerminalProgress, print_json, print_lines

if TYPE_CHECKING:
    from cogvae_cli.pipeline.doctor import Check


def doctor(
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Look for what is missing or broken, and say how to mend it.

    Versions, devices and their permissions, memory, codecs, ffmpeg's metrics, the Hub, caches. Ends with 1 if there is
    a fault.

    Examples:

      cogvae doctor

      cogvae doctor --json

      cogvae doctor -q && cogvae roundtrip
    """
    from cogvae_cli.pipeline.doctor import diagnose

    diagnosis = diagnose(tell=TerminalProgress(quiet=quiet).phase)
    if as_json:
        print_json(diagnosis.as_dict())
    else:
        width = max(len(check.name) for check in diagnosis.checks)
        print_lines(line for check in diagnosis.checks for line in _lines(check, width))
        count = diagnosis.faults
        print_lines([f"{count} fault{'' if count == 1 else 's'} found" if count else "no fault found"])
    if diagnosis.faults:
        raise typer.Exit(1)


def _lines(check: Check, width: int) -> list[str]:
    lines = [f"{check.status:<5}  {check.name:<{width}}  {check.found}"]
    if check.cure is not None:
        lines.append(f"{'':5}  {'':<{width}}  cure: {check.cure}")
    return lines
