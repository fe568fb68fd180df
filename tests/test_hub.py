"""Finding a model: built in, on disk, and on the Hub, which here is a local server that speaks its protocol."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import numpy as np
import pytest
from hub_files import COMMIT, CONFIG, PIPELINE, STEM, WEIGHTS, run_python
from hub_server import Repository, serving
from safetensors.numpy import save, save_file

from cogvae_cli.errors import ModelError, UsageError
from cogvae_cli.io.hub import find_model
from cogvae_cli.io.weights import read_tensors
from cogvae_cli.model.config import PRESETS

# The library reads its environment when it is imported, so each question gets a process of its own.
ASK = """
import json, sys
from cogvae_cli.errors import CogvaeError
from cogvae_cli.io.hub import find_model
from cogvae_cli.io.weights import read_tensors
answers = []
for model, revision in json.loads(sys.argv[1]):
    try:
        files = find_model(model, revision=revision)
        answers.append({"name": files.name, "revision": files.revision, "hashes": dict(files.hashes),
                        "weights": [str(path) for path in files.weights], "config": str(files.config),
                        "keys": sorted(read_tensors(files))})
    except CogvaeError as error:
        public = [kind for kind in type(error).__mro__ if kind.__module__ == "cogvae_cli.errors"]
        answers.append({"class": public[0].__name__, "message": error.message, "hint": error.hint})
print(json.dumps(answers))
"""


def ask(questions, cache, **environment):
    """What find_model answers to (model, revision) in a process with that environment and Hub cache."""
    done = run_python(["-W", "error::ResourceWarning", "-c", ASK, json.dumps(questions)], cache, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def failed(answer, kind, *says):
    assert answer["class"] == kind, answer
    assert "\n" not in answer["message"]
    for text in says:
        assert text in answer["message"], answer
    assert answer["hint"]


def vae_folder(folder, content=WEIGHTS):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_bytes(CONFIG)
    (folder / f"{STEM}.safetensors").write_bytes(content)
    return folder


def test_a_pipeline_folder_its_vae_and_its_weights_file_are_one_model(tmp_path):
    vae = vae_folder(tmp_path / "CogVideoX" / "vae")
    names = {}
    for given in (tmp_path / "CogVideoX", vae, vae / f"{STEM}.safetensors"):
        files = find_model(str(given))
        assert (files.config, files.weights, files.revision) == (
            vae / "config.json",
            (vae / f"{STEM}.safetensors",),
            None,
        )
        names[given.name] = files.name
    assert names == {name: name for name in ("CogVideoX", "vae", f"{STEM}.safetensors")}


def test_a_relative_path_is_named_by_its_last_part(tmp_path, monkeypatch):
    vae_folder(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    assert find_model(".").name == "mine"
    assert find_model("../mine/").name == "mine"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_model("~/mine").weights == (tmp_path / "mine" / f"{STEM}.safetensors",)


def test_what_exists_or_looks_like_a_path_is_never_sent_to_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vae_folder(tmp_path / "org" / "name")
    assert find_model("org/name").name == "name"
    for missing in ("./org/none", "/none/vae", "~/none", "org/none/", "org/none.safetensors", "org/vae.ckpt", ".."):
        with pytest.raises(ModelError, match=r"is not there|has no config.json"):
            find_model(missing)


def test_a_home_that_is_nobodys_is_refused():
    with pytest.raises(ModelError, match="~nobody-of-that-name/vae can't be read"):
        find_model("~nobody-of-that-name/vae")


def test_names_of_nothing_name_the_nearest_preset():
    for wrong, near in (("cogvideox2b", "cogvideox-2b"), ("CogVideoX-5b-I2V", "cogvideox-5b-i2v"), ("tinny", "tiny")):
        with pytest.raises(ModelError, match=f"{wrong}'; did you mean {near}") as caught:
            find_model(wrong)
        assert "--model tiny" in caught.value.hint
    for wrong in ("zzz", "", "a/b/c", "a b/c", "\0", "-x/y", "x" * 5000):
        with pytest.raises(ModelError, match="presets are cogvideox-2b"):
            find_model(wrong)


@pytest.mark.parametrize("name", ["vae.bin", "vae.pt", "vae.pth", "vae.ckpt"])
def test_pickled_weights_are_refused_with_the_way_to_convert_them(tmp_path, name):
    folder = tmp_path / "vae"
    folder.mkdir()
    (folder / "config.json").write_bytes(CONFIG)
    (folder / name).write_bytes(b"\x80\2.")
    for given in (folder, folder / name):
        with pytest.raises(ModelError, match=f"{name}.* a pickle.* only safetensors") as caught:
            find_model(str(given))
        assert "safe_serialization=True" in caught.value.hint


def test_what_a_folder_lacks_is_named(tmp_path):
    save_file({"a": np.arange(3, dtype=np.float32)}, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"w.safetensors has no config.json beside it"):
        find_model(str(tmp_path / "w.safetensors"))
    with pytest.raises(ModelError, match=r"has no config.json"):
        find_model(str(tmp_path))
    (tmp_path / "config.json").write_bytes(CONFIG)
    assert find_model(str(tmp_path)).weights == (tmp_path / "w.safetensors",)
    save_file({"a": np.arange(3, dtype=np.float32)}, tmp_path / "v.safetensors")
    with pytest.raises(ModelError, match=r"2 files of weights: v.safetensors, w.safetensors"):
        find_model(str(tmp_path))
    (tmp_path / "w.safetensors").unlink()
    (tmp_path / "v.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no .safetensors weights"):
        find_model(str(tmp_path))
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ModelError, match=r"notes.txt is no .safetensors file"):
        find_model(str(tmp_path / "notes.txt"))


def test_a_revision_is_for_the_hub_and_needed_where_none_is_pinned(tmp_path):
    for local in ("tiny", str(vae_folder(tmp_path / "vae"))):
        with pytest.raises(UsageError, match="--revision main was given"):
            find_model(local, revision="main")
    for unpinned in ("cogvideox1.5-5b-i2v", "zai-org/CogVideoX1.5-5B-I2V", "org/name"):
        with pytest.raises(UsageError, match=f"{unpinned} needs --revision"):
            find_model(unpinned)


def test_only_the_vae_is_fetched_and_it_is_there_without_network(tmp_path):
    pinned = PRESETS["cogvideox-5b"]
    again = [["org/name", COMMIT], ["org/name", "main"], ["cogvideox-5b", None], [pinned.repo.upper(), None]]
    preset = Repository(PIPELINE, commit=pinned.revision, refs=())
    with serving({"org/name": Repository(PIPELINE), pinned.repo: preset}) as hub:
        first, second, third = ask(
            [["org/name", "main"], ["org/name", COMMIT], ["cogvideox-5b", None]], tmp_path, HF_ENDPOINT=hub.address
        )
        assert sorted(hub.fetched) == 2 * ["vae/config.json"] + 2 * [f"vae/{STEM}.safetensors"]
    assert first == second
    assert (first["name"], first["revision"], first["keys"]) == ("org/name", COMMIT, ["encoder.a"])
    assert (third["name"], third["revision"]) == ("cogvideox-5b", pinned.revision)
    offline = ask(again[:3], tmp_path, HF_HUB_OFFLINE="1")
    assert offline == [first, first, third]


def test_the_forms_of_a_repository(tmp_path):
    shards = {f"{STEM}-0000{k}-of-00002.safetensors": save({f"a{k}": np.arange(3.0, dtype=np.float32)}) for k in (1, 2)}
    index = {"weight_map": {"a1": f"{STEM}-00001-of-00002.safetensors", "a2": f"{STEM}-00002-of-00002.safetensors"}}
    split = {"config.json": CONFIG, f"{STEM}.safetensors.index.json": json.dumps(index).encode(), **shards}
    repositories = {
        "org/split": Repository({**split, f"vae2/{STEM}.safetensors": b"not fetched"}),
        "org/variant": Repository({"vae/config.json": CONFIG, f"vae/{STEM}.fp16.safetensors": WEIGHTS}),
        "org/pickle": Repository({"vae/config.json": CONFIG, f"vae/{STEM}.bin": b"pickle"}),
        "org/image": Repository(
            {"vae/config.json": b'{"_class_name": "AutoencoderKL"}', f"vae/{STEM}.safetensors": WEIGHTS}
        ),
        "org/none": Repository({"README.md": b"nothing"}),
        "org/corrupt": Repository(PIPELINE, corrupt=(f"vae/{STEM}.safetensors",)),
    }
    with serving(repositories) as hub:
        found = dict(
            zip(
                repositories,
                ask([[name, "main"] for name in repositories], tmp_path, HF_ENDPOINT=hub.address),
                strict=True,
            )
        )
        assert hub.fetched.count(f"vae/{STEM}.safetensors") == 1  # of org/corrupt; not of what is no CogVideoX VAE
        assert not [name for name in hub.fetched if name.startswith("vae2") or name.endswith(".bin")]
    assert found["org/split"]["keys"] == ["a1", "a2"]
    assert found["org/variant"]["keys"] == ["encoder.a"]
    failed(found["org/pickle"], "ModelError", "org/pickle at main", "only safetensors")
    failed(found["org/image"], "ModelError", "describes AutoencoderKL")
    failed(found["org/none"], "ModelError", "org/none at main has no vae/config.json")
    failed(found["org/corrupt"], "ModelError", "not the one the Hub announced")


def test_every_refusal_of_the_hub_has_its_class_and_line(tmp_path):
    repositories = {
        "org/gated": Repository(PIPELINE, refusal=(403, "GatedRepo")),
        "org/gated401": Repository(PIPELINE, refusal=(401, "GatedRepo")),
        "org/private": Repository(PIPELINE, refusal=(401, "")),
        "org/forbidden": Repository(PIPELINE, refusal=(403, "")),
        "org/here": Repository(PIPELINE),
        "org/ill": Repository(PIPELINE, refusal=(418, "")),
    }
    questions = [[name, "main"] for name in repositories] + [
        ["org/absent", "main"],
        ["org/here", "9" * 40],
        ["org/here", "v9"],
    ]
    with serving(repositories) as hub:
        answers = ask(questions, tmp_path, HF_ENDPOINT=hub.address)
    gated, gated401, private, forbidden, _, ill, absent, commit, tag = answers
    failed(gated, "HubError", "org/gated is gated")
    failed(gated401, "HubError", "org/gated401 is gated")
    failed(private, "HubError", "wants a login for org/private")
    failed(forbidden, "HubError", "refuses access to org/forbidden (403)")
    failed(ill, "HubError", "answers 418 for org/ill")
    failed(absent, "ModelError", "no repository org/absent")
    failed(commit, "ModelError", f"org/here has no revision '{'9' * 40}'")
    failed(tag, "ModelError", "org/here has no revision 'v9'")
    for answer in (gated, private, forbidden):
        assert "HF_TOKEN" in answer["hint"]
        assert "--model tiny" in answer["hint"]


def test_without_network_the_error_says_so_and_names_the_ways_out(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        away, pinned = ask([["org/name", "main"], ["cogvideox-2b", None]], tmp_path, HF_ENDPOINT=nowhere)
    for answer, name in ((away, "org/name at main"), (pinned, "zai-org/CogVideoX-2b at 1137dacfc2c9")):
        failed(answer, "HubError", "the Hub can't be reached", name)
        assert "--model tiny" in answer["hint"]
        assert "local path" in answer["hint"]


def cached(cache, files, commit=COMMIT):
    """A snapshot in the layout of the Hub's cache, made by hand."""
    storage = cache / "models--org--name"
    for name, content in files.items():
        path = storage / "snapshots" / commit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (storage / "refs").mkdir(parents=True)
    (storage / "refs" / "main").write_text(commit)


def test_offline_the_cache_is_enough_or_the_error_says_what_forbids_more(tmp_path):
    cached(tmp_path / "whole", {"vae/config.json": CONFIG, f"vae/{STEM}.safetensors": WEIGHTS})
    cached(tmp_path / "half", {"vae/config.json": CONFIG})
    cached(tmp_path / "other", {"transformer/config.json": b"{}"})
    question = [["org/name", "main"]]
    (whole,) = ask(question, tmp_path / "whole", HF_HUB_OFFLINE="1")
    assert (whole["revision"], whole["keys"]) == (COMMIT, ["encoder.a"])
    for cache in ("half", "other", "none"):
        (answer,) = ask(question, tmp_path / cache, HF_HUB_OFFLINE="1")
        failed(answer, "HubError", "org/name at main isn't whole in the Hub's cache", "HF_HUB_OFFLINE")
        assert "--model tiny" in answer["hint"]


def test_weights_that_are_not_the_pinned_ones_are_refused(tmp_path):
    pinned = PRESETS["cogvideox-5b-i2v"]
    with serving({pinned.repo: Repository(PIPELINE, commit=pinned.revision)}) as hub:
        wrong, other = ask([["cogvideox-5b-i2v", None], [pinned.repo, "main"]], tmp_path, HF_ENDPOINT=hub.address)
    for answer in (wrong, other):  # `main` is the same commit here
        failed(answer, "ModelError", "not the one pinned", pinned.weights_sha256)
        assert "--revision" in answer["hint"]


def test_looking_for_a_local_model_imports_no_hub_library():
    code = "from cogvae_cli.io.hub import find_model; find_model('tiny')"
    code += "; import sys; print('huggingface_hub' in sys.modules, 'jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "False"]
    assert read_tensors(find_model("tiny"))
