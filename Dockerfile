# cogvae for TPU VMs; for CPU and NVIDIA GPU by --build-arg DEVICE=cpu or cuda. How it is built and run: docs/tpu-vm.md.
#
#   docker build -t cogvae .
#   docker run --rm --privileged --net=host -v cogvae-cache:/cache -v "$PWD":/data cogvae encode clip.mp4 -o clip.npz

# Anything with Python 3.11 or newer, venv and pip, for both stages alike.
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
# tpu, cuda or cpu
ARG DEVICE=tpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/cogvae
WORKDIR /src
# What the package needs, before the package: this layer stays while only code changes.
COPY pyproject.toml ./
RUN python3 -c "import sys, tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print('\n'.join(p['dependencies'] + ([] if sys.argv[1] == 'cpu' else p['optional-dependencies'][sys.argv[1]])))" \
"${DEVICE}" >requirements.txt && /opt/cogvae/bin/pip install --requirement requirements.txt
COPY README.md LICENSE NOTICE ./
COPY cogvae_cli cogvae_cli
RUN /opt/cogvae/bin/pip install --no-deps . && /opt/cogvae/bin/cogvae --version && rm -rf /opt/cogvae/lib/python3*/site-packages/pip

FROM ${BASE}
RUN useradd --uid 1000 --create-home cogvae && mkdir -p /cache/hub /cache/programs /data && chmod 1777 /cache /cache/* /data
COPY --from=build /opt/cogvae /opt/cogvae

# Name of a model whose weights become part of the image, say cogvideox-2b; empty: they are fetched into the volume.
ARG BAKE=
ARG BAKED_HUB=${BAKE:+/opt/hub}
# Another server of the Hub's protocol to bake from.
ARG HF_ENDPOINT=
ENV PATH=/opt/cogvae/bin:$PATH \
    COGVAE_MODEL=${BAKE:-cogvideox-2b} \
    COGVAE_CACHE=/cache \
    HF_HOME=/cache/hub \
    HF_HUB_CACHE=${BAKED_HUB:-/cache/hub} \
    HF_HUB_DISABLE_TELEMETRY=1
RUN if [ -n "${BAKE}" ]; then \
        [ -n "${HF_ENDPOINT}" ] || unset HF_ENDPOINT; \
        HF_HOME=/tmp/hub cogvae models download "${BAKE}" && rm -rf /tmp/hub && chmod -R a+rwX /opt/hub; \
    fi

# After baking, so that a new commit changes nothing above.
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="cogvae" \
      org.opencontainers.image.description="Video into CogVideoX latents and back, on TPU, GPU or CPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# Compiled programs, and what comes from the Hub.
VOLUME /cache
WORKDIR /data
USER cogvae
ENTRYPOINT ["cogvae"]
