"""What --ray means, and how many actors a cluster has room for. No cluster is needed; tests/ray has one."""

from __future__ import annotations

import socket

import pytest

from cogvae_cli.cli.main import main
from cogvae_cli.cli.ray_address import with_ray_address
from cogvae_cli.errors import CogvaeError, UsageError
from cogvae_cli.pipeline.batch_options import RayOptions
from cogvae_cli.pipeline.batch_ray_address import reach
from cogvae_cli.pipeline.batch_ray_slots import slots_among


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--ray"], ["--ray=default"]),
        (["--ray", "clips"], ["--ray=default", "clips"]),
        (["--ray", "--out-dir", "x"], ["--ray=default", "--out-dir", "x"]),
        (["--ray", "10.0.0.7:6379", "clips"], ["--ray", "10.0.0.7:6379", "clips"]),
        (["--ray", "auto"], ["--ray", "auto"]),
        (["--ray=head:6379"], ["--ray=head:6379"]),
        (["--ray", "--", "auto"], ["--ray=default", "--", "auto"]),
        (["--", "--ray"], ["--", "--ray"]),
    ],
)
def test_what_follows_ray_is_its_address_only_if_it_looks_like_one(given, meant):
    assert with_ray_address(given) == meant


def test_actors_are_on_chips_else_on_gpus_else_on_cpus():
    tpus = [{"CPU": 24.0, "TPU": 4.0, "memory": 1e9}, {"CPU": 24.0, "TPU": 4.0}, {"CPU": 8.0}]
    one, two, whole = (slots_among(tpus, devices, None) for devices in (1, 2, "all"))
    assert (one.count, one.needs) == (8, {"num_cpus": 1, "resources": {"TPU": 1}})
    assert (two.count, two.needs) == (4, {"num_cpus": 1, "resources": {"TPU": 2}})
    assert (whole.count, whole.needs) == (2, {"num_cpus": 1, "resources": {"TPU": 4}})
    gpus = slots_among([{"CPU": 16.0, "GPU": 8.0}, {"CPU": 16.0, "GPU": 3.0}], 2, None)
    assert (gpus.count, gpus.needs) == (5, {"num_cpus": 1, "num_gpus": 2})
    cpus = slots_among([{"CPU": 3.0}, {"memory": 1e9}], "all", None)
    assert (cpus.count, cpus.needs) == (3, {"num_cpus": 1})
    assert slots_among([{"CPU": 3.0}], 1, 7).count == 7
    assert slots_among([], 1, None).count == 0


def test_all_of_nodes_that_differ_is_refused():
    with pytest.raises(CogvaeError, match="have 4 to 8 TPUs"):
        slots_among([{"TPU": 4.0}, {"TPU": 8.0}], "all", None)


def test_rays_client_and_no_actor_at_all_are_refused():
    with pytest.raises(UsageError, match="isn't run through Ray's client"):
        RayOptions("ray://head:10001")
    with pytest.raises(UsageError, match="0 actors"):
        RayOptions(workers=0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-o", "x.npz", "--ray"], "--ray is for many clips"),
        (["--out-dir", "x", "--ray-workers", "3"], "--ray-workers is for a Ray cluster"),
        (["-o", "x.npz", "--batch-size", "2"], "--batch-size is for many clips"),
    ],
)
def test_options_of_a_cluster_have_their_place(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["encode", "a.mp4", "--model", "tiny", *arguments]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "localhost:{}"])
def test_an_address_where_nothing_listens_is_told_at_once(form):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        reach(form.format(port))
    with pytest.raises(OSError, match="refused"):
        reach(form.format(port))


@pytest.mark.parametrize("address", [None, "auto", "local", ""])
def test_an_address_that_names_no_host_is_left_to_ray(address):
    reach(address)
