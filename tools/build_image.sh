#!/usr/bin/env bash
# Builds the image with buildah, without a Docker daemon, runs the tests marked `image` on it, and records size, times
# and a round trip in docs/results/image.txt. Needs root, buildah, and for BASE=debootstrap debootstrap (Debian's
# packages of these names).
#
#   BASE=debootstrap tools/build_image.sh
#
#   BASE=IMAGE          what both stages start from; `debootstrap` makes a Debian with Python; default: Dockerfile's own
#   DEVICE=cpu          or tpu, cuda: the extra that is installed
#   TAG=NAME            of the image (default localhost/cogvae:DEVICE)
#   BUILD_FLAGS="..."   more flags for `buildah build`, say -v CERTIFICATES:CERTIFICATES:ro where a proxy has its own
#   REUSE=1             takes the base and the layers of an earlier build where nothing changed, and says so
#   PYTHON=python3      has the package's extra `test`: it runs the tests
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
device=${DEVICE:-cpu}
tag=${TAG:-localhost/cogvae:$device}
base=${BASE:-}
work=$(mktemp -d "${TMPDIR:-/tmp}/cogvae-image.XXXXXX")
trap 'rm -rf "$work"' EXIT

export STORAGE_DRIVER=${STORAGE_DRIVER:-vfs} BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}

# A Debian with Python, made from its packages.
make_base() {
    if [ -n "${REUSE:-}" ] && buildah inspect --type image "$debian" >/dev/null 2>&1; then
        return
    fi
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv,python3-pip bookworm "$work/base" >&2
    rm -rf "$work"/base/var/cache/apt/archives/*.deb "$work"/base/var/lib/apt/lists/*
    tar -C "$work/base" --exclude='./dev/*' -cf "$work/base.tar" .
    local container
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$work/base.tar" / >&2
    buildah config --cmd bash "$container"
    buildah commit --quiet --rm "$container" "$debian" >&2
    rm -rf "$work/base" "$work/base.tar"
}

if [ "$base" = debootstrap ]; then
    debian=localhost/cogvae-base:bookworm
    make_base
    base=$debian
    told="debootstrap --variant=minbase bookworm, with ca-certificates, python3, python3-venv, python3-pip"
else
    told=${base:-$(sed -n 's/^ARG BASE=//p' "$root/Dockerfile")}
fi

mkdir "$work/tree"
git -C "$root" archive HEAD | tar -x -C "$work/tree"
commit=$(git -C "$root" rev-parse HEAD)
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$root/cogvae_cli/__init__.py")
# shellcheck disable=SC2206 # flags are words
flags=(--build-arg "DEVICE=$device" ${base:+--build-arg "BASE=$base"} ${BUILD_FLAGS:-})

start=$SECONDS
cache=()
[ -n "${REUSE:-}" ] || cache=(--no-cache)
buildah build --layers "${cache[@]}" "${flags[@]}" --build-arg "VERSION=$version" --build-arg "REVISION=$commit" \
    --tag "$tag" "$work/tree" 2>&1 | tee "$work/build.txt"
built=$((SECONDS - start))
reused=$(grep -c 'Using cache' "$work/build.txt" || true)
size=$(buildah images --format '{{.Size}}' "$tag")
base_size=$(buildah images --format '{{.Size}}' "${base:-$told}" | head -n 1)

status=0
(
    cd "$work/tree"
    export COGVAE_TEST_INSTALLED=0 IMAGE_UNDER_TEST=$tag IMAGE_BUILD_FLAGS="${flags[*]}"
    "${PYTHON:-python3}" -m pytest -n0 -m image --durations=0 -vv -s 2>&1
) | tee "$work/result.txt" || status=$?

mkdir -p "$root/docs/results"
{
    echo "tools/build_image.sh"
    echo "date     $(date -u +%Y-%m-%d)"
    echo "commit   $commit"
    echo "machine  $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
    echo "builder  $(buildah --version), isolation $BUILDAH_ISOLATION, storage $STORAGE_DRIVER"
    echo "base     $told, $base_size"
    echo "device   $device"
    echo "build    $built s, $reused steps taken from an earlier build"
    echo "image    $size uncompressed, base included"
    echo
    grep -aE '(PASSED|FAILED|ERROR|SKIPPED)|^[0-9.]+s call|^=+ .* in [0-9]|^  [a-zPS ]' "$work/result.txt"
} >"$root/docs/results/image.txt"
exit "$status"
