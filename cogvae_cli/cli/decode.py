"""`cogvae decode`: a latents file into a video."""

from __future__ import annotations

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
from cogvae_cli.pipeline.results import tile_text
from cogvae_cli.pipeline.video_options import VideoOptions

if TYPE_CHECKING:
    from cogvae_cli.pipeline.decode import DecodeResult


def decode(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="LATENTS...",
            help="The latents file, or - for stdin. With --out-dir: files, folders, patterns, lists (.txt), tables "
            "(.csv, .tsv, .jsonl) and manifests of encode.",
            show_default=False,
        ),
    ],
    output: options.VideoOut = None,
    model: options.ModelOfLatents = None,
    revision: options.Revision = None,
    dtype: options.ComputeDtype = None,
    force: Annotated[
        bool, typer.Option("--force", help="Decode with another model than the one that made the latents.")
    ] = False,
    posterior: options.OfMoments = None,
    seed: options.Seed = None,
    devices: options.Devices = "1",
    tile: options.Tile = "auto",
    tile_overlap: options.TileOverlap = None,
    tile_layout: options.TileLayoutName = None,
    formats: video.Formats = None,
    layout: options.Layout = None,
    array: options.ArrayName = None,
    scaled: options.IsScaled = None,
    rate: options.Rate = None,
    codec: video.Codec = None,
    crf: video.Crf = None,
    preset: video.Preset = None,
    pix_fmt: video.PixFmt = None,
    audio: video.Audio = None,
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
    ray: batch.Ray = None,
    ray_workers: batch.RayWorkers = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Decode a latents file into a video.

    The video has the size, the number of frames and the rate of the one that was encoded. The model is the one that
    made the latents. Latents of other programs (.pt, .npy, .safetensors) are read too: say what the file doesn't.

    Examples:

      cogvae decode clip.npz -o clip.mp4

      cogvae decode clip.npz -o clip.mkv --codec ffv1 --audio source.mp4

      cogvae decode clip.npz -o clip.mp4 --model ./my-model/vae --tile 360x240

      cogvae decode moments.npz -o clip.mp4 --posterior sample --seed 7

      cogvae decode encoded.pt -o clip.mp4 --format cogvideo --model cogvideox-2b

      cogvae decode latents/ --recursive --out-dir videos --format mkv
    """
    from cogvae_cli.pipeline.batch import BatchJob
    from cogvae_cli.pipeline.decode import DecodeOptions, decode_file
    from cogvae_cli.pipeline.importing import ImportOptions
    from cogvae_cli.pipeline.options import TileOptions, parse_devices

    program, container = video.split_formats(formats)
    chosen = DecodeOptions(
        revision=revision,
        dtype=dtype,
        tiles=TileOptions(tile, tile_overlap, tile_layout),
        devices=parse_devices(devices),
        foreign=ImportOptions(program, layout, array, scaled, rate),
        posterior=posterior,
        seed=seed,
        force=force,
        video=VideoOptions(crf, pix_fmt, codec, preset, container, audio),
        overwrite=overwrite,
    )
    trouble = (skip_existing, verify_existing, fail_fast, timeout, log_file)
    many = batch.Many(out_dir, recursive, root, path_column, *trouble, shard, ray=ray, ray_workers=ray_workers)
    if out_dir is not None:
        job = BatchJob("decode", sources, out_dir, model, chosen, many.options(overwrite=overwrite))
        batch.run(job, output, dry_run=dry_run, as_json=as_json, quiet=quiet)
        return
    source, output = batch.only_one(sources, output, many)
    progress = TerminalProgress(quiet=quiet)
    if dry_run:
        from cogvae_cli.pipeline.dry_run import plan_decode

        print_dry_run(plan_decode(source, output, model=model, options=chosen, progress=progress), as_json=as_json)
        return
    video.refuse_json_on_stdout(output, as_json)
    result = decode_file(source, output, model=model, options=chosen, progress=progress)
    if as_json:
        print_json(result.as_dict())
    elif str(output) != "-":
        print_lines(_lines(result))


def _lines(result: DecodeResult) -> list[str]:
    time, height, width, channels = result.latents_shape
    seed = "" if result.seed is None else f" with seed {result.seed}"
    rows = [
        ("latents", f"{time} frames of {width}x{height}, {channels} channels, {result.posterior}{seed}"),
        ("model", f"{result.model.name}, computed in {result.compute_dtype}{tile_text(result.tiles)}"),
        ("video", f"{result.frames} frames of {result.width}x{result.height} at {result.rate} frames/s"),
        ("file", f"{result.output}, {bytes_text(result.output_bytes)}"),
        ("speed", speed_text(result.frames_per_second, result.compile_seconds)),
    ]
    return table(rows)
