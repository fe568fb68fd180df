"""`--ray [ADDRESS]`: an option whose value can be left out, which Typer doesn't know."""

from __future__ import annotations

import re
from collections.abc import Sequence

_RAY_ADDRESS = re.compile(r"auto|local|[\w.\[\]:-]+:\d+|\w+://.*", re.ASCII)
RAY_ALONE = "default"


def with_ray_address(arguments: Sequence[str]) -> list[str]:
    """The command line with a value for a --ray that has none; Typer knows no option whose value can be left out.

    What follows it is taken for an address only if it looks like one, else for an input.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    given: list[str] = []
    for place, argument in enumerate(arguments):
        following = arguments[place + 1] if place + 1 < end else ""
        is_alone = place < end and argument == "--ray" and _RAY_ADDRESS.fullmatch(following) is None
        given.append(f"--ray={RAY_ALONE}" if is_alone else argument)
    return given
