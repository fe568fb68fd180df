"""Gives broken files to every reader: each must be read or refused with one clean line, soon, and within memory.

    python tools/fuzz.py                       500 inputs
    python tools/fuzz.py --inputs 20000        the long run
    python tools/fuzz.py --seed 2              other inputs; a seed and a number always make the same one
    python tools/fuzz.py --only 417            one of them, with its traceback; its file is kept

Exits with 1 if an input ends otherwise: another exception, a crash, more than 10 seconds, more memory than the bound,
or a file left behind.
"""

from __future__ import annotations

import argparse
import pathlib
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests")]

SECONDS = 10
MEMORY = 500 * 2**20
"""Bytes that reading one input may take above what the process has."""
ADDRESSES = 4 * 2**30
"""What a process may map in all, so that a bomb fails and doesn't take the machine with it."""


def run(seed: int, first: int, count: int, folder: pathlib.Path) -> list[str]:
    """Tries inputs `first` to `first + count - 1`; gives a line for each that ended badly."""
    faults, index, end = [], first, first + count
    while index < end:
        command = [sys.executable, __file__, "--worker", f"{seed},{index},{end}", "--folder", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        faults += [line for line in lines if line.startswith("fault ")]
        if done.returncode == 0:
            break
        reached = max((int(line.split()[1]) for line in lines if line.startswith("input ")), default=index)
        how = "hung" if done.returncode == -signal.SIGALRM else f"ended the process with {done.returncode}"
        faults.append(f"fault {reached} {how}: {done.stderr.strip()[-300:]}")
        index = reached + 1
    return faults


def work(seed: int, first: int, end: int, folder: pathlib.Path) -> None:
    """A process that tries inputs one after the other and says which one it is at."""
    from fuzz_corpus import Plain, corpus

    with tempfile.TemporaryDirectory(dir=folder) as made:
        samples = corpus(pathlib.Path(made))
        for sample in samples if first == 0 else ():  # what nobody reads has nothing in it to be broken
            path = pathlib.Path(made) / sample.name
            path.write_bytes(sample.data)
            sample.read(path, Plain())
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    others = [sample.data for sample in samples]
    for index in range(first, end):
        print(f"input {index}", flush=True)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            fault = attempt(seed, index, samples, others, pathlib.Path(place))
        if fault:
            print(f"fault {index} {fault}", flush=True)


def attempt(seed: int, index: int, samples: list, others: list[bytes], folder: pathlib.Path) -> str | None:
    """What went wrong with one input; None for a clean end."""
    from fuzz_corpus import mutated

    from cogvae_cli.errors import CogvaeError

    chance = random.Random(f"{seed}/{index}")
    sample = samples[index % len(samples)]
    path = folder / sample.name
    path.write_bytes(mutated(sample.data, chance, others))
    before = high_water(reset=True)
    signal.alarm(SECONDS)
    try:
        sample.read(path, chance)
    except CogvaeError as error:
        if "\n" in error.message or len(error.message) > 1000 + len(str(path)):
            return f"{sample.name}: no line: {error.message[:200]!r}"
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{sample.name}: {type(error).__name__}: {error} at {pathlib.Path(where.filename).name}:{where.lineno}"
    finally:
        signal.alarm(0)
    used = high_water() - before
    if used > MEMORY:
        return f"{sample.name}: took {used / 2**20:.0f} MiB"
    left = [entry.name for entry in folder.iterdir() if entry != path]
    return f"{sample.name}: left {left}" if left else None


def high_water(*, reset: bool = False) -> int:
    """Most bytes that the process has held; `reset` starts again from what it holds now."""
    if reset:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    return int(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def show(seed: int, index: int) -> None:
    """Tries one input with its traceback; keeps its file."""
    from fuzz_corpus import corpus, mutated

    folder = pathlib.Path(tempfile.mkdtemp(prefix="cogvae-fuzz-"))
    samples = corpus(folder)
    chance = random.Random(f"{seed}/{index}")
    sample = samples[index % len(samples)]
    path = folder / f"input-{sample.name}"
    path.write_bytes(mutated(sample.data, chance, [sample.data for sample in samples]))
    print(path, flush=True)
    print(sample.read(path, chance))


def main() -> int:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    parser.add_argument("--worker")
    parser.add_argument("--folder", type=pathlib.Path)
    given = parser.parse_args()
    if given.worker:
        work(*map(int, given.worker.split(",")), given.folder)
        return 0
    if given.only is not None:
        show(given.seed, given.only)
        return 0
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cogvae-fuzz-") as folder:
        faults = run(given.seed, 0, given.inputs, pathlib.Path(folder))
        left = [entry.name for entry in pathlib.Path(folder).iterdir()]
    print("\n".join(faults))
    crashed = any("ended the process" in fault or "hung" in fault for fault in faults)
    if left and not crashed:  # a process that died couldn't clean up
        faults.append(f"fault - left {left}")
    print(f"{given.inputs} inputs, seed {given.seed}, {len(faults)} faults, {time.monotonic() - start:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
