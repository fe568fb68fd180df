"""What the tests of the Hub share: a small model, processes with their own environment, a look at the cache."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save

STEM = "diffusion_pytorch_model"
COMMIT = "1234567890" * 4
CONFIG = json.dumps({"_class_name": "AutoencoderKLCogVideoX", "scaling_factor": 0.7}).encode()
WEIGHTS = save({"encoder.a": np.arange(12, dtype=np.float16).reshape(3, 4)})
PIPELINE = {
    "model_index.json": b"{}",
    "README.md": b"# model",
    "vae/config.json": CONFIG,
    f"vae/{STEM}.safetensors": WEIGHTS,
    f"vae/{STEM}.fp16.safetensors": WEIGHTS + b"never fetched",
    "vae/README.md": b"never fetched",
    "transformer/config.json": b"{}",
    f"transformer/{STEM}.safetensors": b"many GB",
}


def environment(cache: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1", **more}


def run_python(arguments: list[str], cache: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """A Python with the Hub cache and environment given; the Hub's library reads them when it is imported."""
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, env=environment(cache, **more), capture_output=True, text=True, timeout=100, check=False
    )


def cogvae(arguments: list[str], cache: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return run_python(["-m", "cogvae_cli", *arguments], cache, **more)


def assert_failed(done: subprocess.CompletedProcess[str], code: int, *says: str) -> None:
    """One line of error with all the texts, one line of hint, nothing else but what was told before."""
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert [line.partition(":")[0] for line in lines[-2:]] == ["error", "hint"], done.stderr
    assert not [line for line in lines[:-2] if not re.match("fetching |notice: ", line)], done.stderr
    for text in says:
        assert text in lines[-2], done.stderr
    assert done.stdout == ""


def assert_whole(cache: Path) -> None:
    """Nothing half is left, and each file is what its name says: large ones go by sha256, small ones by git's hash."""
    files = [path for path in cache.rglob("*") if path.is_file() and ".locks" not in path.parts]
    assert not [path for path in cache.rglob("*") if path.is_symlink() and not path.exists()]
    assert not [path for path in files if "incomplete" in path.name or path.name.endswith(".tmp")]
    for path in files:
        if path.parent.name == "blobs":
            content = path.read_bytes()
            git = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
            assert path.name in (hashlib.sha256(content).hexdigest(), git)
