"""Making one clip of a batch, in the worker: encode or decode it into the work folder, and gather its row's facts."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cogvae_cli.errors import CogvaeError, UsageError
from cogvae_cli.io.fingerprint import sha256_of, stamp_of
from cogvae_cli.io.remote import fetch, is_url
from cogvae_cli.io.store import Store
from cogvae_cli.pipeline.batch_messages import Job, Task
from cogvae_cli.pipeline.batch_options import mirrored
from cogvae_cli.pipeline.batch_plan import window_name
from cogvae_cli.pipeline.convert import convert_file
from cogvae_cli.pipeline.convert_plan import ConvertOptions
from cogvae_cli.pipeline.decode import DecodeOptions, decode_clip
from cogvae_cli.pipeline.encode import Cutting, EncodeOptions, encode_clip, encode_windows
from cogvae_cli.pipeline.importing import ImportOptions
from cogvae_cli.pipeline.models import obtain, recorded
from cogvae_cli.pipeline.progress import Progress
from cogvae_cli.pipeline.turns import Surroundings

if TYPE_CHECKING:
    from cogvae_cli.model.autoencoder import VAE
    from cogvae_cli.pipeline.clip_result import ClipResult
    from cogvae_cli.pipeline.encode_result import EncodeResult

Options = TypeVar("Options", EncodeOptions, DecodeOptions)

_MODELS = 2  # held at a time, where files name their own; each takes device memory


Found = tuple[Path, dict[str, Any], bool]
"""A whole file, the fields that its row has of it, and whether it is the last one of its source."""


class ClipMaker(abc.ABC):
    """Makes clips; from several threads at a time."""

    @abc.abstractmethod
    def make(self, task: Task, around: Surroundings) -> Iterator[Found]:
        """Whole files in the work folder, one where a source isn't cut. Raises as encoding or decoding."""


def maker_for(job: Job, progress: Progress) -> ClipMaker:
    """Loads the model, if the job names one. Raises ModelError, HubError and UsageError."""
    maker = _Encoder(job, progress) if job.kind == "encode" else _Decoder(job, progress)
    return maker if job.store is None else _Uploader(maker, Store(job.store))


class _Uploader(ClipMaker):
    """Puts what another one makes into a store at once; nothing of it stays here."""

    def __init__(self, maker: ClipMaker, store: Store) -> None:
        self._maker, self._store = maker, store

    def make(self, task: Task, around: Surroundings) -> Iterator[Found]:
        for made, facts, is_last in self._maker.make(task, around):
            name = task.output if "start_frame" not in facts else window_name(task.output, facts["start_frame"])
            around.progress.phase("uploading")
            self._store.put(made, name, overwrite=task.overwrite)
            made.unlink()
            del facts["output_mtime_ns"]
            yield made, facts | (self._store.stamp(name) or {}), is_last


class _Encoder(ClipMaker):
    def __init__(self, job: Job, progress: Progress) -> None:
        if not isinstance(job.options, EncodeOptions) or job.model is None:
            raise TypeError("encoding takes EncodeOptions and a model")
        job.options.choice()
        self._job = job
        self._vae = obtain(job.model, job.options, progress).batched(job.batch_size)
        self._options = _loaded(dataclasses.replace(job.options, overwrite=True, program=None))
        self._program = job.options.program
        self._suffix = job.suffix if self._program is None else ".npz"

    def make(self, task: Task, around: Surroundings) -> Iterator[Found]:
        stamp = stamp_of(task.source)
        options = mirrored(self._options) if task.mirrored else self._options
        with _local(task, self._job.work) as source:
            if not options.cuts:
                made = self._place(f"{task.number}")
                result = encode_clip(source, made, model=self._vae, options=options, around=around)
                yield *self._finished(result, stamp), True
                return
            cutting = Cutting(lambda start: self._place(f"{task.number}-{start}"), task.first)
            cuts = encode_windows(source, cutting, model=self._vae, options=options, around=around)
            for result, cut, is_last in cuts:
                made, facts = self._finished(result, stamp)
                yield made, facts | {"start_frame": cut.start, "is_last_window": is_last}, is_last

    def _place(self, name: str) -> Path:
        return self._job.work / f"{name}{self._suffix}"

    def _finished(self, result: EncodeResult, stamp: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
        """The file in the form that is wanted, and its row's fields."""
        made = result.output
        if self._program is not None:
            made = made.with_suffix(self._job.suffix)
            about = ImportOptions(format=self._program)
            done = convert_file(result.output, made, options=ConvertOptions(foreign=about, overwrite=True))
            result.output.unlink()
            result = dataclasses.replace(result, notices=(*result.notices, *done.notices))
        facts = _facts(result, made) | stamp | {"source_sha256": result.source_sha256}
        return made, facts | ({"damage": result.damage} if result.damage else {})


class _Decoder(ClipMaker):
    def __init__(self, job: Job, progress: Progress) -> None:
        if not isinstance(job.options, DecodeOptions):
            raise TypeError("decoding takes DecodeOptions")
        self._job, self._progress = job, progress
        self._asked = dataclasses.replace(job.options, overwrite=True)
        self._models: dict[tuple[str, str | None], VAE] = {}
        self._loading = threading.Lock()
        if job.model is None and job.options.revision is not None:
            raise UsageError("a revision was given without a model", "name the model with --model")
        if job.model is not None:
            self._vae(job.model, job.options.revision)

    def make(self, task: Task, around: Surroundings) -> Iterator[Found]:
        made, stamp = self._job.work / f"{task.number}{self._job.suffix}", stamp_of(task.source)
        with _local(task, self._job.work) as source:
            vae = self._model_of(source)
            result = decode_clip(source, made, model=vae, options=_loaded(self._asked), around=around)
            sha256 = sha256_of(source)
        yield made, _facts(result, made) | stamp | {"source_sha256": sha256}, True

    def _model_of(self, source: Path) -> VAE | None:
        """The model of the job, or the one that the file names; None for a foreign file, which names none."""
        from cogvae_cli.io.foreign import is_foreign
        from cogvae_cli.io.latents import read_header

        if self._job.model is not None:
            return self._vae(self._job.model, self._asked.revision)
        if is_foreign(source):
            return None
        header, _ = read_header(source)
        return self._vae(recorded(header.model), header.model.revision)

    def _vae(self, model: str, revision: str | None) -> VAE:
        with self._loading:
            vae = self._models.pop((model, revision), None)
            if vae is None:
                vae = obtain(model, dataclasses.replace(self._asked, revision=revision), self._progress)
            self._models[model, revision] = vae  # the newest is last
            while len(self._models) > _MODELS:
                self._models.pop(next(iter(self._models)))
            return vae


def _loaded(options: Options) -> Options:
    """For a model that is loaded already: it has its revision and dtype."""
    return dataclasses.replace(options, revision=None, dtype=None)


@contextlib.contextmanager
def _local(task: Task, work: Path) -> Iterator[Path]:
    """The source as a path; what has a URL is fetched for as long. Raises InputError."""
    if not is_url(task.source):
        yield Path(task.source)
        return
    folder = copy = work / f"{task.number}.source"
    shutil.rmtree(folder, ignore_errors=True)  # of a worker that died
    try:
        copy = fetch(task.source, folder)
        yield copy
    except CogvaeError as error:
        raise type(error)(error.message.replace(str(copy), task.source), error.hint) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _facts(result: ClipResult, made: Path) -> dict[str, Any]:
    return {
        "frames": result.frames,
        "width": result.width,
        "height": result.height,
        "latents_shape": list(result.latents_shape),
        "output_bytes": made.stat().st_size,
        "output_mtime_ns": made.stat().st_mtime_ns,
        "sha256": sha256_of(made),
        "model": result.model.name,
        "model_identity": result.model.identity,
        "notices": list(result.notices),
        "seconds": round(result.seconds, 3),
        "compile_seconds": round(result.compile_seconds, 3),
    }
