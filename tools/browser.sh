#!/usr/bin/env bash
# Runs the tests marked `browser` in a fresh environment and records the result in docs/results/browser.txt.
# Needs Chromium: on Debian, apt-get install chromium.
#
#   tools/browser.sh               all of them
#   tools/browser.sh -k slider     as pytest selects them; records nothing
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/cogvae-browser.XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT

unset PYTHONPATH PYTHONHOME VIRTUAL_ENV
git -C "$root" archive HEAD | tar -x -C "$work" || exit 2
cd "$work" || exit 2
python3 -m venv .venv && .venv/bin/pip install --quiet '.[browser]' || exit 2
export COGVAE_TEST_INSTALLED=1
status=0
.venv/bin/pytest -n0 -m browser --durations=0 -vv "$@" | tee result.txt || status=$?
if [ "$#" -eq 0 ]; then
    mkdir -p "$root/docs/results"
    {
        echo "pytest -n0 -m browser, by tools/browser.sh"
        echo "date    $(date -u +%Y-%m-%d)"
        echo "commit  $(git -C "$root" rev-parse HEAD)"
        echo "machine $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
        echo "browser $(chromium --version 2>/dev/null || chromium-browser --version || google-chrome --version)"
        .venv/bin/cogvae --version
        echo
        grep -E ' (PASSED|FAILED|ERROR|SKIPPED) |^[0-9.]+s call|^=+ .* in [0-9]' result.txt
    } >"$root/docs/results/browser.txt"
fi
exit "$status"
