#!/usr/bin/env bash
# Runs README's test command and the mark `processes`, in a fresh copy of the tree, on each supported Python found.
#
#   tools/test_all_pythons.sh         each
#   tools/test_all_pythons.sh ends    only the oldest and the newest found
#
# Looks for python3.X on PATH, then in pyenv's folder.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
which=${1:-all}
case $which in
    all | ends) ;;
    *) echo "usage: $0 [all|ends]" >&2; exit 2 ;;
esac

# Prints the interpreter for a minor version, if there is one that starts and has venv.
find_python() {
    local candidate
    for candidate in "$(command -v "python$1")" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python3; do
        if [ -x "$candidate" ] && "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

pythons=()
for version in 3.11 3.12 3.13; do
    python=$(find_python "$version")
    if [ -n "$python" ]; then
        pythons+=("$python")
    else
        echo "Python $version: not found"
    fi
done
[ "${#pythons[@]}" -gt 0 ] || { echo "no supported Python found" >&2; exit 2; }
if [ "$which" = ends ] && [ "${#pythons[@]}" -gt 2 ]; then
    pythons=("${pythons[0]}" "${pythons[-1]}")
fi

status=0
report=()
for python in "${pythons[@]}"; do
    verdict=ok
    CI_PYTHONS=one PYTHON=$python "$root/.ci/run" tests processes || { verdict=FAILED status=1; }
    report+=("$("$python" -V): $verdict")
done
printf '\n--- Pythons\n'
printf '%s\n' "${report[@]}"
exit "$status"
