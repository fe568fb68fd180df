"""The files of a report: a page and its figures, and films beside it where they are too large for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cogvae_cli.errors import UsageError


@dataclass(frozen=True)
class ReportFiles:
    """Where the parts of a report go. `x.html` has its figures in `x.json`; `x.json` alone has no page."""

    page: Path | None
    figures: Path

    @classmethod
    def of(cls, path: Path) -> ReportFiles:
        """Raises UsageError for a name of another kind."""
        suffix = path.suffix.lower()
        if suffix not in (".html", ".json"):
            raise UsageError(
                f"{path} doesn't end in .html or .json", "a report is a page, or a JSON file of its figures"
            )
        return cls(path, path.with_suffix(".json")) if suffix == ".html" else cls(None, path)

    def films(self) -> tuple[Path, ...]:
        """Where the original and the result are put if the page can't hold them."""
        if self.page is None:
            return ()
        return tuple(self.page.with_name(f"{self.page.stem}.{name}.mp4") for name in ("original", "result"))

    def check(self, *, overwrite: bool, inputs: Sequence[Path], others: Sequence[Path] = ()) -> None:
        """Refuses what can't be written or may not be, before any work is done; `others`: outputs of the same run."""
        from cogvae_cli.io.outputs import check_output

        for path in self._all():
            if any(path.absolute() == other.absolute() for other in others):
                raise UsageError(f"{path}: the video and the report can't be one file", "name another output")
            check_output(path, overwrite=overwrite, inputs=inputs)

    def write_figures(self, facts: Mapping[str, Any], *, overwrite: bool, inputs: Sequence[Path]) -> None:
        from cogvae_cli.io.outputs import atomic_output

        text = json.dumps(facts, indent=1, allow_nan=False)
        with atomic_output(self.figures, overwrite=overwrite, inputs=inputs) as part:
            part.write_text(text + "\n", encoding="utf-8")

    def write_page(self, text: str, *, overwrite: bool, inputs: Sequence[Path]) -> None:
        from cogvae_cli.io.outputs import atomic_output

        if self.page is not None:
            with atomic_output(self.page, overwrite=overwrite, inputs=inputs) as part:
                part.write_text(text, encoding="utf-8")

    def place_films(self, films: Sequence[Path], *, overwrite: bool, inputs: Sequence[Path]) -> None:
        """Puts films that were written elsewhere beside the page."""
        from cogvae_cli.io.outputs import atomic_output

        for film, path in zip(films, self.films(), strict=True):
            with atomic_output(path, overwrite=overwrite, inputs=inputs) as part:
                shutil.copyfile(film, part)

    @contextmanager
    def workshop(self) -> Iterator[Path | None]:
        """A folder beside the page that is gone at the end; None where there is no page."""
        from cogvae_cli.io.outputs import atomic_folder

        if self.page is None:
            yield None
        else:
            with atomic_folder(self.page) as folder:
                yield folder

    def _all(self) -> tuple[Path, ...]:
        return (*((self.page,) if self.page else ()), self.figures, *self.films())
