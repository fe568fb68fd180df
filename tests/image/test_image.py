"""The built image does what the command does, offline and without root. tools/build_image.sh builds it and runs this.

Containers run by buildah in a network of their own that reaches nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Repository, serving
from media import write_numbered

from cogvae_cli.model.config import PRESETS

pytestmark = pytest.mark.image


def buildah(*arguments: str | Path) -> str:
    done = subprocess.run(["buildah", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def config_of(image: str) -> dict:
    return json.loads(buildah("inspect", "--type", "image", image))["OCIv1"]["config"]


@contextlib.contextmanager
def running(image: str, folder: Path) -> Iterator[Container]:
    name = buildah("from", "--pull-never", image).strip()
    try:
        yield Container(image, name, folder)
    finally:
        buildah("rm", name)


class Container:
    """Runs the image's entrypoint, as `docker run` does, with folders of this machine as /data and /cache."""

    def __init__(self, image: str, name: str, folder: Path) -> None:
        self._entrypoint = config_of(image)["Entrypoint"]
        self._name = name
        self.data, self.cache = folder / "data", folder / "cache"
        for path in (self.data, self.cache):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o777)

    def run(self, *arguments: str, user: str | None = None, volumes: bool = True) -> subprocess.CompletedProcess[str]:
        mounts = ["-v", f"{self.data}:/data", "-v", f"{self.cache}:/cache"] if volumes else []
        chosen = ["--user", user] if user else []
        command = ["unshare", "--net", "buildah", "run", *mounts, *chosen, self._name, "--", *self._entrypoint]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def image() -> str:
    name = os.environ.get("IMAGE_UNDER_TEST")
    assert name, "IMAGE_UNDER_TEST names no image: run tools/build_image.sh"
    return name


@pytest.fixture(scope="module")
def container(image, tmp_path_factory):
    with running(image, tmp_path_factory.mktemp("image")) as found:
        yield found


def test_the_image_says_what_it_is(image):
    config = config_of(image)
    assert config["Entrypoint"] == ["cogvae"]
    assert config["User"] == "cogvae"
    assert config["WorkingDir"] == "/data"
    assert config["Volumes"] == {"/cache": {}}
    variables = dict(one.split("=", 1) for one in config["Env"])
    assert variables["COGVAE_MODEL"] == "cogvideox-2b"
    assert variables["HF_HUB_CACHE"] == "/cache/hub"
    assert variables["COGVAE_CACHE"] == "/cache"
    labels = {name.rpartition(".")[2]: text for name, text in config["Labels"].items()}
    assert labels["licenses"] == "Apache-2.0"
    assert len(labels["revision"]) == 40


def test_the_built_in_clip_comes_back_offline(container, capsys):
    done = container.run("roundtrip", "--model", "tiny")
    assert done.returncode == 0, done.stderr
    with capsys.disabled():  # tools/build_image.sh records it
        sys.stdout.write("\n" + "".join(f"  {line}\n" for line in done.stdout.splitlines()))
    assert re.search(r"PSNR +20\.\d+ dB", done.stdout)
    kept = [path for path in (container.cache / "programs").rglob("*") if path.is_file()]
    assert kept, "no compiled program was kept in the volume"


def test_files_come_in_and_go_out_as_the_user_who_asks(container):
    write_numbered(container.data / "clip.mp4", 9)
    done = container.run("encode", "clip.mp4", "-o", "clip.npz", "--model", "tiny", user="4321:4321")
    assert done.returncode == 0, done.stderr
    assert (container.data / "clip.npz").stat().st_uid == 4321
    done = container.run("decode", "clip.npz", "-o", "back.mp4", user="4321:4321")
    assert done.returncode == 0, done.stderr


def test_without_a_network_the_default_model_is_asked_for_in_words(container):
    done = container.run("encode", "clip.mp4", "-o", "other.npz")
    assert done.returncode == 1
    assert "error: the Hub can't be reached to fetch" in done.stderr
    assert "--model tiny" in done.stderr


def test_weights_can_be_baked_in(image, tmp_path, package, root):
    """From a server of the Hub's protocol that has the built-in model under the name of the real one."""
    preset = PRESETS["cogvideox-2b"]
    files = {f"vae/{path.name}": path.read_bytes() for path in (package / "assets" / "tiny").iterdir()}
    config = json.loads(files["vae/config.json"]) | {"scaling_factor": preset.scaling_factor}
    files["vae/config.json"] = json.dumps(config).encode()
    baked = f"{image}-baked"
    with serving({preset.repo: Repository(files, preset.revision)}) as hub:
        flags = [*os.environ["IMAGE_BUILD_FLAGS"].split(), "--build-arg", f"HF_ENDPOINT={hub.address}"]
        buildah("build", "--layers", *flags, "--build-arg", f"BAKE={preset.name}", "--tag", baked, root)
    try:
        with running(baked, tmp_path) as container:
            write_numbered(container.data / "clip.mp4", 9)
            done = container.run("encode", "clip.mp4", "-o", "clip.npz")
            assert done.returncode == 0, done.stderr
            assert "cogvideox-2b" in done.stdout
    finally:
        buildah("rmi", baked)
        shutil.rmtree(tmp_path / "cache")
