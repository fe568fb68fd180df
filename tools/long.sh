#!/usr/bin/env bash
# Runs the tests marked `long` in a fresh environment and records the result in docs/results/long.txt.
#
#   tools/long.sh               all of them
#   tools/long.sh -k memory     as pytest selects them; records nothing
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/cogvae-long.XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT

unset PYTHONPATH PYTHONHOME VIRTUAL_ENV
git -C "$root" archive HEAD | tar -x -C "$work" || exit 2
cd "$work" || exit 2
python3 -m venv .venv && .venv/bin/pip install --quiet '.[dev]' || exit 2  # optax: training
export COGVAE_TEST_INSTALLED=1
status=0
.venv/bin/pytest -m 'long and not parity and not tpu and not ray' --durations=0 -vv "$@" | tee result.txt || status=$?
if [ "$#" -eq 0 ]; then
    mkdir -p "$root/docs/results"
    {
        echo "pytest -m 'long and not parity and not tpu and not ray', by tools/long.sh"
        echo "date    $(date -u +%Y-%m-%d)"
        echo "commit  $(git -C "$root" rev-parse HEAD)"
        echo "machine $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
        .venv/bin/cogvae --version
        echo
        sed 's/^\[gw[0-9]*\] \[ *[0-9]*%\] //' result.txt | grep -E '^(PASSED|FAILED|ERROR|SKIPPED) |^[0-9.]+s call|^=+ .* in [0-9]'
    } >"$root/docs/results/long.txt"
fi
exit "$status"
