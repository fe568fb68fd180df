"""Outputs are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from cogvae_cli.errors import InputError, OutputError, OutputExistsError, UsageError
from cogvae_cli.io.fingerprint import sha256_of
from cogvae_cli.io.outputs import atomic_output, check_output


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def start(script: str, *arguments: Path | str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


HOLD = """
    import sys, time
    from pathlib import Path
    from cogvae_cli.io.outputs import atomic_output
    with atomic_output(Path(sys.argv[1]), overwrite=True) as temporary:
        temporary.write_bytes(b"half")
        print("ready", flush=True)
        time.sleep(60)
"""


def test_a_complete_output_is_renamed_into_place(tmp_path):
    path = tmp_path / "z.npz"
    with atomic_output(path, overwrite=False) as temporary:
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"all of it")
        assert not path.exists()
    assert path.read_bytes() == b"all of it"
    assert names(tmp_path) == ["z.npz"]


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_leaves_the_old_output_and_nothing_else(tmp_path, fault):
    path = tmp_path / "z.npz"
    path.write_bytes(b"old")
    with contextlib.suppress(fault), atomic_output(path, overwrite=True) as temporary:
        temporary.write_bytes(b"half")
        raise fault
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["z.npz"]


def test_an_output_that_exists_is_refused_unless_overwriting_is_asked_for(tmp_path):
    path = tmp_path / "z.npz"
    path.write_bytes(b"old")
    with pytest.raises(OutputExistsError, match="exists already") as caught, atomic_output(path, overwrite=False):
        pytest.fail("the block must not run")
    assert "-y" in (caught.value.hint or "")
    with atomic_output(path, overwrite=True) as temporary:
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"


def test_an_output_that_appears_meanwhile_is_kept(tmp_path):
    path = tmp_path / "z.npz"

    def race() -> None:
        with atomic_output(path, overwrite=False) as temporary:
            temporary.write_bytes(b"ours")
            path.write_bytes(b"theirs")

    with pytest.raises(OutputExistsError, match="meanwhile"):
        race()
    assert path.read_bytes() == b"theirs"
    assert names(tmp_path) == ["z.npz"]


def test_an_input_is_never_the_output(tmp_path):
    source = tmp_path / "a.mp4"
    source.write_bytes(b"video")
    (tmp_path / "soft.mp4").symlink_to(source)
    (tmp_path / "hard.mp4").hardlink_to(source)
    for name in ("a.mp4", "soft.mp4", "hard.mp4", "../" + tmp_path.name + "/a.mp4"):
        with pytest.raises(UsageError, match="is an input"):
            check_output(tmp_path / name, overwrite=True, inputs=[source])
    check_output(tmp_path / "b.mp4", overwrite=True, inputs=[source, tmp_path / "gone.mp4"])
    assert source.read_bytes() == b"video"


def test_a_link_at_the_output_is_replaced_and_its_target_is_kept(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    target, link = tmp_path / "precious", folder / "z.npz"
    target.write_bytes(b"precious")
    link.symlink_to(target)
    with pytest.raises(OutputExistsError):
        check_output(link, overwrite=False)
    with atomic_output(link, overwrite=True) as temporary:
        assert temporary.parent == folder
        temporary.write_bytes(b"new")
    assert (link.read_bytes(), link.is_symlink()) == (b"new", False)
    assert target.read_bytes() == b"precious"


def test_a_dangling_link_counts_as_an_output_that_exists(tmp_path):
    (tmp_path / "z.npz").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputExistsError):
        check_output(tmp_path / "z.npz", overwrite=False)


def test_devices_and_folders_are_not_replaced(tmp_path):
    (tmp_path / "z.npz").mkdir()
    (tmp_path / "null").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "z.npz", Path("/dev/null"), tmp_path / "null", tmp_path / "pipe"):
        with pytest.raises(OutputError, match=r"is a folder|not a regular file"), atomic_output(path, overwrite=True):
            pytest.fail("the block must not run")
    assert Path("/dev/null").is_char_device()


def test_a_folder_that_cannot_be_written_to_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path, words in (
        (tmp_path / "none" / "z.npz", "does not exist"),
        (tmp_path / "file" / "z.npz", "is not a folder"),
        (Path("/proc/z.npz"), "can't be written"),
    ):
        with pytest.raises(OutputError, match=words) as caught, atomic_output(path, overwrite=False):
            pytest.fail("the block must not run")
        assert str(path) in caught.value.message
        assert "\n" not in caught.value.message


def test_names_as_long_as_file_systems_allow_and_odd_ones_work(tmp_path):
    for name in ("n" * 251 + ".npz", "🎬" * 62 + ".mp4", "-dash.mp4", "frame%03d.mp4", "http:clip.mp4", ".hidden"):
        with atomic_output(tmp_path / name, overwrite=False) as temporary:
            temporary.write_bytes(b"x")
        assert (tmp_path / name).read_bytes() == b"x"
    with pytest.raises(OutputError, match="can't be written"):
        check_output(tmp_path / ("n" * 256), overwrite=False)
    assert len(names(tmp_path)) == 6


def test_the_temporary_file_cannot_be_guessed_and_is_not_followed(tmp_path):
    seen = set()
    for _ in range(5):
        with atomic_output(tmp_path / "z.npz", overwrite=True) as temporary:
            seen.add(temporary.name)
            assert temporary.name.startswith(".z.npz.")
            assert temporary.name.endswith(".part")
    assert len(seen) == 5


def test_a_new_file_has_the_usual_permissions_and_an_old_one_keeps_its_own(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    private = tmp_path / "private"
    private.write_bytes(b"")
    private.chmod(0o600)
    for path in (tmp_path / "new", private):
        with atomic_output(path, overwrite=True) as temporary:
            temporary.write_bytes(b"x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert private.stat().st_mode & 0o777 == 0o600


def test_what_a_killed_process_left_is_removed_by_the_next_run(tmp_path):
    path = tmp_path / "z.npz"
    path.write_bytes(b"old")
    with start(HOLD, path) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGKILL)
    assert path.read_bytes() == b"old"
    assert len(names(tmp_path)) == 2
    with atomic_output(path, overwrite=True) as temporary:
        assert names(tmp_path) == sorted([temporary.name, "z.npz"])
        temporary.write_bytes(b"new")
    assert names(tmp_path) == ["z.npz"]
    assert path.read_bytes() == b"new"


def test_the_temporary_file_of_a_living_process_is_not_touched(tmp_path):
    path = tmp_path / "z.npz"
    with start(HOLD, path) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        (theirs,) = names(tmp_path)
        with atomic_output(path, overwrite=True) as temporary:
            temporary.write_bytes(b"ours")
        assert (tmp_path / theirs).read_bytes() == b"half"
        child.kill()


def test_only_leftovers_of_the_same_output_are_removed(tmp_path):
    kept = [".y.npz.0123456789abcdef.part", ".z.npz.part", ".z.npz.0123456789abcdeg.part"]
    kept += ["z.npz.0123456789abcdef.part", ".z.npz.0123456789abcdef.part.bak", ".zxnpz.0123456789abcdef.part"]
    for name in [*kept, ".z.npz.0123456789abcdef.part"]:
        (tmp_path / name).write_bytes(b"x")
    outside = tmp_path / "outside"
    outside.write_bytes(b"x")
    (tmp_path / ".z.npz.00000000000000ff.part").symlink_to(outside)
    with atomic_output(tmp_path / "z.npz", overwrite=False) as temporary:
        temporary.write_bytes(b"x")
    assert names(tmp_path) == sorted([*kept, "z.npz", "outside", ".z.npz.00000000000000ff.part"])


FILL = """
    import resource, signal, sys
    from fractions import Fraction
    from pathlib import Path
    import numpy as np
    from cogvae_cli.errors import OutputError
    from cogvae_cli.io.outputs import atomic_output
    from cogvae_cli.io.codecs import container_of
    from cogvae_cli.io.video_writer import VideoWriter
    from cogvae_cli.io.write_options import WriteOptions
    path = Path(sys.argv[1])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    frames = np.random.default_rng(1).integers(0, 256, (12, 48, 64, 3), dtype=np.uint8)
    for limit in map(int, sys.argv[2:]):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            with atomic_output(path, overwrite=True) as temporary:
                with VideoWriter(temporary, WriteOptions(64, 48, Fraction(25), container_of(path))) as writer:
                    writer.write(frames)
        except OutputError as error:
            print(limit, "refused", str(path) in error.message, error.message)
        else:
            print(limit, "written", path.stat().st_size)
            path.write_bytes(b"old")
        if path.read_bytes() != b"old" or len(list(path.parent.iterdir())) != 1:
            print(limit, "broken", list(path.parent.iterdir()))
"""


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_a_full_disk_is_an_error_wherever_it_strikes_and_the_old_video_is_whole(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"old")
    limits = [10, 1000, 20_000, *range(25_500, 26_900, 61), 10**9]  # the file takes about 26,500 bytes
    with start(FILL, path, *map(str, limits)) as child:
        output, errors = child.communicate(timeout=60)
    assert (child.returncode, errors) == (0, "")
    lines = [line.split(maxsplit=3) for line in output.splitlines()]
    assert [int(line[0]) for line in lines] == limits
    size = int(lines[-1][2])
    assert 25_500 < size < 26_900
    for limit, outcome, *rest in lines:
        assert outcome == ("written" if int(limit) >= size else "refused"), (limit, size, rest)
        assert outcome == "written" or rest[0] == "True"
    assert "File too large" in output


def test_errors_that_are_not_the_output_s_go_through(tmp_path):
    with pytest.raises(ConnectionResetError), atomic_output(tmp_path / "z.npz", overwrite=False):
        raise ConnectionResetError(errno.ECONNRESET, "of something else")
    assert names(tmp_path) == []


def test_killing_at_any_moment_loses_nothing(tmp_path):
    path = tmp_path / "z.npz"
    old, new = b"old" * 100_000, b"new" * 100_000
    script = """
        import sys
        from pathlib import Path
        from cogvae_cli.io.outputs import atomic_output
        print("ready", flush=True)
        while True:
            for content in (b"new" * 100_000, b"old" * 100_000):
                with atomic_output(Path(sys.argv[1]), overwrite=True) as temporary:
                    temporary.write_bytes(content)
    """
    path.write_bytes(old)
    for moment in range(6):
        with start(script, path) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            time.sleep(0.003 * moment)
            child.send_signal(signal.SIGKILL)
        assert path.read_bytes() in (old, new)
    with atomic_output(path, overwrite=True) as temporary:
        temporary.write_bytes(new)
    assert names(tmp_path) == ["z.npz"]


def test_a_file_s_sha256_is_that_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(InputError, match="can't be read"):
        sha256_of(tmp_path / "none")


@pytest.mark.parametrize("lasting", [True, False])
def test_bytes_are_on_the_disk_before_the_name_is_and_the_name_if_it_is_to_last(tmp_path, monkeypatch, lasting) -> None:
    synced, real = [], os.fsync

    def note(descriptor: int) -> None:
        synced.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), (tmp_path / "z.npz").exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    with atomic_output(tmp_path / "z.npz", overwrite=False, lasting=lasting) as temporary:
        temporary.write_bytes(b"whole")
    assert synced == [(str(temporary), False), (str(tmp_path), True)][: 1 + lasting]
    assert (tmp_path / "z.npz").read_bytes() == b"whole"
