"""`cogvae doctor` on a sound machine and on broken ones: each fault is named, with its cure."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cogvae_cli.cli.main import main
from cogvae_cli.pipeline import doctor_devices, doctor_software, doctor_storage
from cogvae_cli.pipeline.doctor import Check, Surroundings, diagnose

NOBODY = 65534


class Answering(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(404 if self.path == "/missing" else 200)
        self.end_headers()

    def log_message(self, format, *args) -> None:
        """Quiet."""


@pytest.fixture
def hub() -> Iterator[str]:
    """The address of a server that answers."""
    server = HTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def closed() -> str:
    """The address of a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can come to, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="cogvae-doctor-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's rights, if the tests have them."""
    if os.geteuid():
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def run(**environment: str) -> tuple[int, dict[str, Check]]:
    """The command in a process of its own: its exit code, and the checks by name."""
    command = [sys.executable, "-m", "cogvae_cli", "doctor", "--json", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)
    assert done.stderr == ""
    told = json.loads(done.stdout)
    checks = {check["name"]: Check(**check) for check in told["checks"]}
    assert told["faults"] == sum(check.status == "fault" for check in checks.values())
    assert (done.returncode == 1) is (told["faults"] > 0)
    return done.returncode, checks


def test_a_sound_machine_has_no_fault(hub):
    code, checks = run(HF_ENDPOINT=hub)
    assert [check for check in checks.values() if check.status == "fault"] == []
    assert code == 0
    assert {"jax", "av", "devices", "memory", "codecs", "ffmpeg", "Hub", "Hub cache", "temporary files"} <= set(checks)


def test_a_broken_machine_has_every_fault_named(closed, tmp_path):
    """No libtpu for the TPU that is asked for, no network, a cache that can't be written, an old av."""
    (tmp_path / "file").write_text("")
    old = tmp_path / "site" / "av-10.0.0.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: av\nVersion: 10.0.0\n")
    path = os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH")]))
    code, checks = run(HF_ENDPOINT=closed, HF_HOME=str(tmp_path / "file" / "hub"), JAX_PLATFORMS="tpu", PYTHONPATH=path)
    faults = {name: check for name, check in checks.items() if check.status == "fault"}
    assert set(faults) == {"av", "devices", "Hub", "Hub cache"}
    assert code == 1
    assert "10.0.0 is too old" in faults["av"].found
    assert "pip install 'av>=17'" in faults["av"].cure
    assert "libtpu" in faults["devices"].cure
    assert f"{closed} can't be reached" in faults["Hub"].found
    assert "--model tiny" in faults["Hub"].cure
    assert f"{tmp_path / 'file'} is no folder" in faults["Hub cache"].found
    assert "HF_HOME" in faults["Hub cache"].cure


def test_a_hub_that_is_not_to_be_asked_is_no_fault(closed):
    _, checks = run(HF_ENDPOINT=closed, HF_HUB_OFFLINE="1")
    assert checks["Hub"].status == "note"
    assert "HF_HUB_OFFLINE" in checks["Hub"].found


def test_a_hub_that_answers_with_an_error_answers(hub):
    assert doctor_storage._reached(f"{hub}/missing", []).status == "ok"


@pytest.mark.parametrize(
    ("mode", "cure"), [(0o600, "chmod a+rw"), (0o660, "usermod -aG"), (0o000, "--privileged"), (0o400, "chmod a+rw")]
)
def test_a_device_file_without_permission_is_told_with_its_cure(mode, cure, open_folder):
    device = open_folder / "accel0"
    device.write_text("")
    device.chmod(mode)
    if mode == 0o660 and os.geteuid() == 0:
        os.chown(device, 0, 39)  # a group that isn't root's
    with as_nobody() if os.geteuid() == 0 else contextlib.nullcontext():
        (check,) = doctor_devices.device_files(Surroundings(devices=open_folder, system=open_folder))
    if os.geteuid() and mode & 0o600 == 0o600:
        pytest.skip("the file is the user's own")
    assert (check.name, check.status) == ("TPU files", "fault")
    assert f"no permission for {device}" in check.found
    assert cure in check.cure


def test_files_of_newer_tpus_are_told_by_their_maker(open_folder):
    (open_folder / "vfio").mkdir()
    (open_folder / "vfio" / "0").write_text("")
    around = Surroundings(devices=open_folder, system=open_folder)
    assert list(doctor_devices.device_files(around)) == []  # of some other device
    vendor = open_folder / "bus" / "pci" / "devices" / "0000:00:04.0" / "vendor"
    vendor.parent.mkdir(parents=True)
    vendor.write_text("0x1ae0\n")
    (check,) = doctor_devices.device_files(around)
    assert (check.name, check.status) == ("TPU files", "ok")


@pytest.mark.parametrize(("name", "title"), [("accel0", "TPU"), ("nvidia0", "GPU")])
def test_an_accelerator_that_jax_does_not_find_is_a_fault(name, title, tmp_path, monkeypatch):
    (tmp_path / name).write_text("")
    around = Surroundings(devices=tmp_path, system=tmp_path)
    (chosen,) = doctor_devices.devices(around)
    assert chosen.status == "note"
    assert "JAX_PLATFORMS=cpu" in chosen.found
    monkeypatch.setattr(
        doctor_devices,
        "_PROBE",
        "import json; print(json.dumps({'platform': 'cpu', 'kinds': ['cpu'], 'bytes': [None]}))",
    )
    monkeypatch.delenv("JAX_PLATFORMS")
    (check,) = doctor_devices.devices(around)
    assert check.status == "fault"
    assert f"although this machine has a {title}" in check.found
    assert ("libtpu" if title == "TPU" else "cogvae[cuda]") in check.cure


def test_without_libtpu_the_cure_is_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'cogvae[tpu]'" in doctor_devices._cure_for_jax("", tpu=True, gpu=False)


def test_a_device_that_never_answers_is_a_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor_devices, "_PROBE", "import time; time.sleep(60)")
    monkeypatch.setattr(doctor_devices, "_SECONDS", 0.2)
    (check,) = doctor_devices.devices(Surroundings(tmp_path, tmp_path))
    assert check.status == "fault"
    assert "no device within" in check.found


def meminfo(folder: Path, total: int, free: int) -> Surroundings:
    (folder / "meminfo").write_text(f"MemTotal: {total // 1024} kB\nMemAvailable: {free // 1024} kB\n")
    return Surroundings(devices=folder, system=folder, processes=folder)


def test_little_memory_is_a_fault(tmp_path):
    (check,) = doctor_devices.memory(meminfo(tmp_path, 8_000_000_000, 500_000_000))
    assert (check.status, check.found) == ("fault", "0.5 GB free of 8.0 GB")


def test_a_container_has_the_memory_that_it_may_take(tmp_path):
    around = meminfo(tmp_path, 64_000_000_000, 60_000_000_000)
    group = tmp_path / "fs" / "cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (check,) = doctor_devices.memory(around)
    assert "64.0 GB" in check.found
    (group / "memory.max").write_text("8000000000\n")
    (group / "memory.current").write_text("1000000000\n")
    (check,) = doctor_devices.memory(around)
    assert check.found == "7.0 GB free of 8.0 GB in this container"


def test_a_cache_without_permission_is_a_fault(open_folder):
    (open_folder / "cache").mkdir(mode=0o555)
    with as_nobody():
        check = doctor_storage._folder("Hub cache", open_folder / "cache" / "hub", "set HF_HOME")
    assert check.status == "fault"
    assert f"no permission to write in {open_folder / 'cache'}" in check.found


def test_a_cache_that_is_not_there_yet_is_no_fault(tmp_path):
    check = doctor_storage._folder("Hub cache", tmp_path / "a" / "b", "set HF_HOME")
    assert (check.status, "not made yet" in check.found) == ("ok", True)
    assert list(tmp_path.iterdir()) == []


def test_an_ffmpeg_without_metrics_is_a_fault(monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    (check,) = doctor_software.ffmpeg()
    assert check.status == "fault"
    assert "IMAGEIO_FFMPEG_EXE" in check.cure


def test_what_breaks_while_it_is_looked_at_is_a_fault_and_the_rest_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    diagnosis = diagnose(Surroundings(tmp_path, tmp_path, tmp_path))  # no meminfo in there
    checks = {check.name: check for check in diagnosis.checks}
    assert checks["memory"].status == "fault"
    assert "FileNotFoundError" in checks["memory"].found
    assert "temporary files" in checks


def test_the_versions_it_asks_for_are_those_of_the_package(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    wanted = {}
    for line in project["dependencies"]:
        name, _, version = re.sub(r"\[.*\]", "", line).partition(">=")
        wanted[name] = version
    implied = {"numpy": None, "imageio-ffmpeg": None}
    assert wanted | implied == doctor_software.NEEDED
    assert project["requires-python"] == ">={}.{}".format(*doctor_software._OLDEST_PYTHON)


@pytest.mark.parametrize(
    ("version", "numbers"), [("0.10.2", (0, 10, 2)), ("18.1.0rc1", (18, 1, 0)), ("2.dev3", (2,)), ("17", (17,))]
)
def test_versions_are_compared_by_their_numbers(version, numbers):
    assert doctor_software._numbers(version) == numbers


def test_it_is_told_in_lines_for_people(monkeypatch, capsys):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    assert main(["doctor"]) == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    fault = next(index for index, line in enumerate(lines) if line.startswith("fault  ffmpeg"))
    assert lines[fault + 1].lstrip().startswith("cure: ")
    assert re.fullmatch(r"\d faults? found", lines[-1])
    assert "looking at devices" in err
