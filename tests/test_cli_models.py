"""`cogvae models`: what there is, what of it is on this machine, and what its page says."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from fractions import Fraction
from pathlib import Path

import pytest
from hub_files import COMMIT, CONFIG, PIPELINE, STEM, WEIGHTS, cogvae
from hub_server import Repository, serving
from media import write_numbered

from cogvae_cli.cli.main import main
from cogvae_cli.io.hub import find_model
from cogvae_cli.io.latents import read_header
from cogvae_cli.io.video_reader import probe
from cogvae_cli.io.weights import identity, read_tensors
from cogvae_cli.model.config import PRESETS
from cogvae_cli.pipeline.model_files import transfer_to
from cogvae_cli.pipeline.progress import Progress


def put(cache: Path, repo: str, commit: str, files: dict[str, bytes]) -> Path:
    """Files in the cache as a repository's snapshot."""
    folder = cache / f"models--{repo.replace('/', '--')}" / "snapshots" / commit
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


VAE = {name: PIPELINE[name] for name in ("vae/config.json", f"vae/{STEM}.safetensors")}
SIZE = sum(map(len, VAE.values()))
HALF, OLD, PINNED, _, FREE = PRESETS.values()
"""Cached in part; at another commit; at the pinned one and one more; not at all; at a commit where none is pinned."""


@pytest.fixture
def cache(tmp_path) -> Path:
    put(tmp_path, OLD.repo, "a" * 40, VAE)
    put(tmp_path, PINNED.repo, PINNED.revision, VAE)
    put(tmp_path, PINNED.repo, "0" * 40, VAE)
    put(tmp_path, FREE.repo, "b" * 40, VAE)
    put(tmp_path, HALF.repo, HALF.revision, {"vae/config.json": CONFIG})
    put(tmp_path, HALF.repo, "c" * 40, {"vae/config.json": CONFIG, f"vae/{STEM}-00001-of-00002.safetensors": WEIGHTS})
    return tmp_path


def test_the_list_tells_commits_and_copies_without_network(cache):
    done = cogvae(["models", "list", "--json"], cache, HF_ENDPOINT="http://127.0.0.1:9")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["schema_version"], told["kind"], told["cache"]) == (1, "models", str(cache))
    models = {model["name"]: model for model in told["models"]}
    assert list(models) == ["tiny", *PRESETS]
    snapshots = cache / f"models--{PINNED.repo.replace('/', '--')}" / "snapshots"
    assert models[PINNED.name] == {
        "name": PINNED.name,
        "repository": PINNED.repo,
        "revision": PINNED.revision,
        "needs_revision": False,
        "scaling_factor": PINNED.scaling_factor,
        "cached": True,
        "copies": [
            {"revision": commit, "folder": str(snapshots / commit / "vae"), "bytes": SIZE}
            for commit in (PINNED.revision, "0" * 40)
        ],
    }
    assert (models[OLD.name]["cached"], len(models[OLD.name]["copies"])) == (False, 1)
    assert (models[FREE.name]["cached"], models[FREE.name]["needs_revision"]) == (True, True)
    assert (models[HALF.name]["cached"], models[HALF.name]["copies"]) == (False, [])
    assert models["tiny"]["cached"]


def test_the_list_is_a_table_of_name_repository_commit_factor_and_size(cache):
    lines = cogvae(["models", "list"], cache).stdout.splitlines()
    rows = {line.split()[0]: re.split(r"  +", line)[1:] for line in lines if line}
    assert rows["tiny"][0] == "built in"
    assert rows[OLD.name] == [OLD.repo, OLD.revision[:12], "0.7", f"{SIZE} B at {'a' * 12}"]
    assert rows[PINNED.name] == [PINNED.repo, PINNED.revision[:12], "0.7", f"{SIZE} B"]
    assert rows[FREE.name] == [FREE.repo, "needs --revision", "0.7", f"{SIZE} B at {'b' * 12}"]
    assert rows[HALF.name] == [HALF.repo, HALF.revision[:12], "1.15258426", "no"]


def test_download_tells_where_the_files_lie_their_sizes_and_hashes(tmp_path):
    with serving({"org/name": Repository(PIPELINE)}) as hub:
        arguments = ["models", "download", "org/name", "--revision", "main"]
        done = cogvae(arguments, tmp_path, HF_ENDPOINT=hub.address)
        told = json.loads(cogvae([*arguments, "--json", "-q"], tmp_path, HF_ENDPOINT=hub.address).stdout)
    (model,) = told["models"]
    folder = Path(model["folder"])
    assert folder.is_relative_to(tmp_path)
    assert {path.name for path in folder.iterdir()} == {"config.json", f"{STEM}.safetensors"}
    assert model["files"] == [
        {"name": path.name, "bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(folder.iterdir())
    ]
    assert (model["name"], model["repository"], model["revision"]) == ("org/name", "org/name", COMMIT)
    assert (model["scaling_factor"], told["kind"]) == (0.7, "models-download")
    assert done.stderr.splitlines() == ["fetching org/name: the VAE of org/name at main"]
    for text in (COMMIT, str(folder), *(file["sha256"] for file in model["files"])):
        assert text in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["cogvideox2b"], 3, "did you mean cogvideox-2b?"),
        (["cogvideox-2b", "nonsense"], 3, "there is no model 'nonsense'"),
        (["cogvideox1.5-5b-i2v"], 2, "needs --revision: no commit is pinned"),
        (["org/name"], 2, "org/name needs --revision"),
        (["./vae"], 2, "./vae is a local path: there is nothing to fetch"),
        (["tiny", "--revision", "main"], 2, "tiny is built in"),
        (["cogvideox-2b", "cogvideox-5b", "--revision", "main"], 2, "goes with one model, and 2 were named"),
        (["org/name", "--revision", "../../x"], 2, "'../../x' is no commit, tag or branch"),
        (["org/name", "--revision", "/etc"], 2, "'/etc' is no commit, tag or branch"),
        ([], 2, "missing argument"),
    ],
)
def test_a_wrong_name_is_told_before_anything_is_fetched(arguments, code, says, capsys):
    assert main(["models", "download", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    error, hint = err.splitlines()
    assert says in error
    assert hint.startswith("hint: ")


def test_the_built_in_model_is_checked_and_nothing_is_fetched(package, capsys):
    assert main(["models", "download", "tiny", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    (model,) = json.loads(out)["models"]
    assert (model["repository"], model["folder"]) == (None, str(package / "assets" / "tiny"))


class Counted(Progress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int | None]] = []

    def begin(self, total: int | None, unit: str = "frames") -> None:
        self.told.append((f"begin {unit}", total))

    def advance(self, count: int) -> None:
        self.told.append(("advance", count))

    def end(self) -> None:
        self.told.append(("end", None))


def test_progress_counts_whole_megabytes_and_never_backwards():
    progress = Counted()
    transfer = transfer_to(progress)
    transfer.begin("config.json", 812)
    transfer.received(812)
    transfer.end()
    assert progress.told == []
    transfer.begin("weights", 5_400_000)
    for count in (900_000, 2_200_000, -3_100_000, 3_000_000, 2_400_000):  # the third starts over
        transfer.received(count)
    transfer.end()
    assert progress.told == [("begin MB", 5), ("advance", 3), ("advance", 2), ("end", None)]


QUICK = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # compiling is most of the time, and the numbers are no matter here


@pytest.mark.processes
def test_latents_name_the_commit_that_made_them_and_are_decoded_by_it_offline(package, tmp_path):
    tiny = package / "assets" / "tiny"
    files = {f"vae/{path.name}": path.read_bytes() for path in tiny.iterdir()}
    commit = hashlib.sha1(b"a commit").hexdigest()
    clip = write_numbered(tmp_path / "in.mkv", 9, (64, 48), Fraction(25))
    latents, video, cache = tmp_path / "z.npz", tmp_path / "out.mkv", tmp_path / "cache"
    with serving({"org/name": Repository(files, commit=commit)}) as hub:
        arguments = ["encode", str(clip), "-o", str(latents), "--model", "org/name", "--revision", commit, "-q"]
        done = cogvae(arguments, cache, HF_ENDPOINT=hub.address, **QUICK)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(hub.fetched) == len(files) == 2
    header, _ = read_header(latents)
    assert (header.model.name, header.model.revision) == ("org/name", commit)
    assert header.model.identity == identity(read_tensors(find_model("tiny")))
    assert header.model.files == tuple(
        (path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in sorted(tiny.iterdir())
    )
    done = cogvae(["decode", str(latents), "-o", str(video), "--json"], cache, HF_HUB_OFFLINE="1", **QUICK)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"]["revision"] == commit
    assert (probe(video).width, probe(video).height) == (64, 48)
    missing = cogvae(["decode", str(latents), "-o", str(video), "-y"], tmp_path / "empty", HF_HUB_OFFLINE="1")
    assert missing.returncode == 1
    assert f"org/name at {commit[:12]} isn't whole in the Hub's cache" in missing.stderr


def page(root: Path) -> str:
    return (root / "docs" / "models.md").read_text(encoding="utf-8")


def test_the_page_has_a_row_for_each_preset(root):
    rows = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in page(root).splitlines()
        if line.startswith("| `cogvideox")
    ]
    assert rows == [
        [
            preset.name,
            preset.repo,
            preset.revision or "none: give --revision",
            str(preset.scaling_factor),
            "yes" if preset.invert_scale_latents else "no",
            preset.weights_sha256 or "not known",
        ]
        for preset in PRESETS.values()
    ]
    assert len(dataclasses.fields(next(iter(PRESETS.values())))) == len(rows[0])


def test_the_page_names_commands_that_exist(root, capsys):
    shown = re.findall(r"^cogvae (.*?)(?:  +#.*)?$", page(root), flags=re.MULTILINE)
    assert len(shown) >= 6
    for line in shown:
        words = line.split()
        names = words[:2] if words[0] == "models" else words[:1]
        assert main([*names, "--help"]) == 0
        text = capsys.readouterr().out
        for option in (word for word in words if word.startswith("--")):
            assert option in text
