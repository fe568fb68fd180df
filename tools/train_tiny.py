"""Trains the built-in model, stage by stage, with the product's own networks and their streaming caches.

A stage begins with random weights, or with those of an earlier one (--from); stopped, it goes on from its checkpoint
when the same command is given again. The log says the sha256 of what a stage began with and of what was exported.

    python tools/train_tiny.py train RUN --media MEDIA --steps 20000 --course small
    python tools/train_tiny.py export RUN FOLDER --media MEDIA
    python tools/train_tiny.py train RUN2 --media MEDIA --steps 8000 --course large --from FOLDER

MEDIA is a folder with the files of tools/tiny_training/media.py; docs/tiny.md says where they come from.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from tiny_training import exporting, media, run  # noqa: E402  the tools folder is no package
from tiny_training.learning import Nets  # noqa: E402

from cogvae_cli.model.config import VAEConfig  # noqa: E402


def config_of_tiny() -> dict[str, Any]:
    """The config of the built-in model, whose form is trained."""
    config: dict[str, Any] = json.loads((ROOT / "cogvae_cli/assets/tiny/config.json").read_text(encoding="utf-8"))
    return config


def train(chosen: argparse.Namespace) -> None:
    """Starts a stage, or goes on with it."""
    begins = None if chosen.begins is None else run.sha256_of_weights(chosen.begins)
    stage = run.Stage(chosen.steps, chosen.course, chosen.seed, chosen.rate, chosen.falling, chosen.batch, begins)
    folder = run.Folder(chosen.run)
    pixels = media.pixels_of(chosen.media, folder.media, media.MEDIA)
    nets = Nets(VAEConfig.from_diffusers(config_of_tiny(), "tiny"))
    goes_on = folder.checkpoint.exists()
    state = folder.restored(nets, stage) if goes_on else run.first_state(nets, stage, chosen.begins)
    folder.write("start", at=int(state.step), stage=vars(stage), code=run.sha256_of_code(), **run.machine())
    state = run.learn(nets, stage, pixels, state, folder, run.Pace(chosen.save_every, chosen.minutes))
    print(f"{int(state.step)} of {stage.steps} steps are done; {folder.checkpoint} holds them")


def export(chosen: argparse.Namespace) -> None:
    """Writes the average of the weights that the checkpoint holds."""
    folder = run.Folder(chosen.run)
    nets = Nets(VAEConfig.from_diffusers(config_of_tiny(), "tiny"))
    stage, state = folder.kept(nets)
    pixels = media.pixels_of(chosen.media, folder.media, media.MEDIA)
    said = exporting.export(nets.unstacked(state.average), config_of_tiny(), pixels, chosen.folder, lower=chosen.lower)
    folder.write("export", step=int(state.step), begins=stage.begins, **said)
    print(json.dumps(said))


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("train", help="start a stage or go on with it")
    one.add_argument("run", type=Path, help="folder of the checkpoint, the log and the decoded media")
    one.add_argument("--media", type=Path, required=True)
    one.add_argument("--steps", type=int, required=True, help="of the whole stage: its schedule depends on them")
    one.add_argument("--course", choices=sorted(run.COURSES), default=run.Stage.course)
    one.add_argument(
        "--from", dest="begins", type=Path, help="folder or file in diffusers' form; default: random weights"
    )
    one.add_argument("--seed", type=int, default=run.Stage.seed)
    one.add_argument("--rate", type=float, default=run.Stage.rate, help="peak of the learning rate")
    one.add_argument("--falling", type=float, default=run.Stage.falling, help="share of the steps over which it falls")
    one.add_argument("--batch", type=int, default=run.Stage.batch, help="multiplies the samples of a step")
    one.add_argument("--save-every", type=int, default=run.Pace.save_every, help="steps between checkpoints")
    one.add_argument("--minutes", type=float, help="stop after that long; the same command goes on")
    one.set_defaults(do=train)
    other = commands.add_parser("export", help="write the weights in diffusers' form")
    other.add_argument("run", type=Path)
    other.add_argument("folder", type=Path)
    other.add_argument("--media", type=Path, required=True)
    other.add_argument("--lower", action="store_true", help="scale the widest streams down, so that float16 holds them")
    other.set_defaults(do=export)
    chosen = parser.parse_args()
    chosen.do(chosen)


if __name__ == "__main__":
    main()
