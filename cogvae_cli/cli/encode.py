"""`cogvae encode`: a video into a latents file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cogvae_cli.cli import batch, options
from cogvae_cli.cli import video_options as video
from cogvae_cli.cli.terminal import (
    TerminalProgress,
    bytes_text,
    print_dry_run,
    print_json,
    print_lines,
    speed_text,
    table,
)
from cogvae_cli.model.config import DEFAULT_MODEL
from cogvae_cli.pipeline.options import FramesPolicy, PosteriorKind, parse_size, parse_sizes
from cogvae_cli.pipeline.results import tile_text
from cogvae_cli.pipeline.video_options import MAX_PIXELS, ReadOptions, Window

if TYPE_CHECKING:
    from cogvae_cli.pipeline.encode import EncodeOptions
    from cogvae_cli.pipeline.encode_result import EncodeResult


def encode(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEO...",
            help="A video, a picture, a folder of pictures, numbered ones named as frame%04d.png, or - for stdin. "
            "With --out-dir: videos, folders of videos, patterns, lists (.txt), tables (.csv, .tsv, .jsonl).",
            show_default=False,
        ),
    ],
    output: options.LatentsOut = None,
    model: options.Model = None,
    revision: options.Revision = None,
    dtype: options.ComputeDtype = None,
    store_dtype: Annotated[options.Dtype, typer.Option(help="Number format of the stored latents.")] = "float32",
    scaled: Annotated[
        bool, typer.Option("--scaled", help="Store latents times the scaling factor, as diffusion models take them.")
    ] = False,
    posterior: Annotated[
        PosteriorKind,
        typer.Option(
            "--posterior", help="What is stored: the mean, a sample, or moments (mean and logvar), to choose later."
        ),
    ] = "mean",
    seed: options.Seed = None,
    frames_policy: Annotated[
        FramesPolicy,
        typer.Option(
            "--frames-policy",
            help="Of a count that is no 8k+1. pad: repeat the last frame, decode takes that off again; trim: drop the "
            "last frames; exact: take 1, 8k and 8k+1 only.",
        ),
    ] = "pad",
    fps: video.Fps = None,
    start: video.Start = None,
    duration: video.Duration = None,
    frames: video.Frames = None,
    window: video.Windows = "first",
    stream: video.Stream = None,
    on_error: video.OnError = "fail",
    max_pixels: video.MaxPixels = MAX_PIXELS,
    size: video.Size = None,
    fit: video.Fit = "cover",
    buckets: video.Buckets = None,
    no_autorotate: video.NoAutorotate = False,
    colorspace: video.Colorspace = None,
    alpha: video.Alpha = "black",
    hdr: video.Hdr = "refuse",
    deinterlace: video.Deinterlace = False,
    container: video.LatentsFormat = None,
    devices: options.Devices = "1",
    tile: options.Tile = "auto",
    tile_overlap: options.TileOverlap = None,
    tile_layout: options.TileLayoutName = None,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    out_dir: batch.OutDir = None,
    recursive: batch.Recursive = False,
    root: batch.Root = None,
    path_column: batch.PathColumn = None,
    skip_existing: batch.SkipExisting = False,
    verify_existing: batch.VerifyExisting = False,
    fail_fast: batch.FailFast = False,
    timeout: batch.Timeout = 600.0,
    log_file: batch.LogFile = None,
    shard: batch.ShardOf = None,
    shards: batch.Shards = None,
    flip: batch.Flip = False,
    batch_size: batch.BatchSize = 1,
    ray: batch.Ray = None,
    ray_workers: batch.RayWorkers = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Encode a video into CogVideoX latents.

    Any size and any number of frames go in; edges and tail are padded as the model needs, and decode takes that off
    again.

    Examples:

      cogvae encode clip.mp4 -o clip.npz

      cogvae encode clip.mp4 -o clip.safetensors --model cogvideox-5b --scaled --store-dtype bfloat16

      cogvae encode clip.mp4 -o moments.npz --posterior moments --frames-policy trim

      cogvae encode film.mkv -o part.npz --start 1:02 --frames 49 --fps 8 --size 720x480

      cogvae encode clip.mp4 -o clip.npz --model ./my-model/vae --tile 360x240 --json

      cogvae encode clips/ more.csv --recursive --out-dir latents --log-file batch.log
    """
    from cogvae_cli.pipeline.batch import BatchJob
    from cogvae_cli.pipeline.encode import EncodeOptions
    from cogvae_cli.pipeline.options import TileOptions, parse_devices

    plain = ReadOptions(fps, start, duration, frames, stream, not no_autorotate, colorspace, alpha, hdr, deinterlace)
    plain = replace(plain, max_pixels=max_pixels, on_error=on_error, window=Window.parse(window))
    reading = replace(plain, size=None if size is None else parse_size(size), fit=fit, buckets=parse_sizes(buckets))
    own, program = video.split_format(container)
    chosen = EncodeOptions(
        revision=revision,
        dtype=dtype,
        tiles=TileOptions(tile, tile_overlap, tile_layout),
        devices=parse_devices(devices),
        store_dtype=store_dtype,
        scaled=scaled,
        posterior=posterior,
        seed=seed,
        frames_policy=frames_policy,
        reading=reading,
        container=own,
        program=program,
        overwrite=overwrite,
    )
    trouble = (skip_existing, verify_existing, fail_fast, timeout, log_file, shard)
    many = batch.Many(out_dir, recursive, root, path_column, *trouble, shards, flip, ray, ray_workers, batch_size)
    model = model or DEFAULT_MODEL
    if out_dir is not None:
        job = BatchJob("encode", sources, out_dir, model, chosen, many.options(overwrite=overwrite))
        batch.run(job, output, dry_run=dry_run, as_json=as_json, quiet=quiet)
        return
    clip, progress = batch.only_one(sources, output, many), TerminalProgress(quiet=quiet)
    (_plan_one if dry_run else _encode_one)(clip, model, chosen, progress, as_json=as_json)


def _plan_one(
    clip: tuple[Path, Path], model: str, chosen: EncodeOptions, progress: TerminalProgress, *, as_json: bool
) -> None:
    from cogvae_cli.pipeline.dry_run import plan_encode

    print_dry_run(plan_encode(*clip, model=model, options=chosen, progress=progress), as_json=as_json)


def _encode_one(
    clip: tuple[Path, Path], model: str, chosen: EncodeOptions, progress: TerminalProgress, *, as_json: bool
) -> None:
    from cogvae_cli.pipeline.encode import encode_file

    source, output = clip
    video.refuse_json_on_stdout(output, as_json)
    result = encode_file(source, output, model=model, options=chosen, progress=progress)
    if as_json:
        print_json(result.as_dict())
    elif str(output) != "-":
        print_lines(_lines(result))
    video.fail_on_damage(source, result.damage, result.frames)


def _lines(result: EncodeResult) -> list[str]:
    time, height, width, channels = result.latents_shape
    scaled = f", times {result.scaling_factor}" if result.scaled else ""
    seed = "" if result.seed is None else f" with seed {result.seed}"
    rows = [
        ("video", f"{result.frames} frames of {result.width}x{result.height} at {result.rate} frames/s"),
        ("model", f"{result.model.name}, computed in {result.compute_dtype}{tile_text(result.tiles)}"),
        ("latents", f"{time} frames of {width}x{height}, {channels} channels, {result.store_dtype}{scaled}"),
        ("posterior", f"{result.posterior}{seed}"),
        ("file", f"{result.output}, {bytes_text(result.output_bytes)}"),
        ("speed", speed_text(result.frames_per_second, result.compile_seconds)),
    ]
    return table(rows)
