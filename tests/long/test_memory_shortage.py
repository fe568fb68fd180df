"""A limit on the memory of the process: what can't be computed whole is computed in tiles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from media import write_numbered

from cogvae_cli.io.latents import read_latents

pytestmark = pytest.mark.long

SHORT_OF_MEMORY = """
import json, resource, sys
from pathlib import Path
import cogvae_cli as cogvae
from cogvae_cli.pipeline import tile_choice
tile_choice.SAFE = 0.2  # Eigen ends the process where its own small arrays find no room: leave it plenty
vae = cogvae.load("tiny")
vae.network("encoder")
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
result = cogvae.encode_file(sys.argv[1], sys.argv[2], model=vae)
print(json.dumps({"tiles": result.as_dict()["tiles"], "notices": result.notices}))
"""


def test_a_real_shortage_of_memory_on_cpu_ends_in_tiles(tmp_path) -> None:
    clip = write_numbered(tmp_path / "in.mp4", 9, (1280, 720), 24)
    environment = os.environ | {"MALLOC_ARENA_MAX": "1"}
    told = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, clip, tmp_path / "z.npz", str(2_600_000_000)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    result = json.loads(told.stdout.splitlines()[-1])
    assert result["tiles"]["columns"] * result["tiles"]["rows"] > 4
    assert any("ran out of memory at 1280x720; the clip starts again" in notice for notice in result["notices"])
    assert read_latents(Path(tmp_path / "z.npz")).header.frames.count == 9
