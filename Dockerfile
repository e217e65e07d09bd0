# The server of OpenSOC: docker build -t opensoc . && docker run --rm -p 7860:7860 opensoc
#
# It listens on 7860, and on 8000 too, where the container tools of the OpenEnv SDK look for it.
#
# scripts/image builds it by the base's digest, with the commit in its labels, under a name that never moves. By hand, the tag follows the patch
# releases of Python 3.11.
ARG BASE=python:3.11-slim
FROM ${BASE}

# Libraries write their caches to /tmp, so that any user id and a read-only root file system will do. ENABLE_WEB_INTERFACE is what `openenv push` adds;
# /web leads to the demo in any case.
ENV PORT=7860 \
    OPENSOC_ALSO_PORT=8000 \
    OPENSOC_ACCESS_LOG=1 \
    ENABLE_WEB_INTERFACE=true \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp

RUN useradd --uid 1000 --no-create-home --shell /usr/sbin/nologin opensoc
WORKDIR /app

# Before the code, so that a change of code does not install again.
COPY requirements.txt .
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.txt && pip check
COPY . .
RUN python -m compileall -q .

# Last, as they differ from commit to commit.
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
ARG SOURCE=unknown

LABEL org.opencontainers.image.title="OpenSOC" \
      org.opencontainers.image.description="Reinforcement-learning environment for security alert triage on OpenEnv" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.licenses="BSD-3-Clause" \
      org.opencontainers.image.authors="OpenSOC contributors"

USER 1000:1000
EXPOSE 7860 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{int(os.environ.get(\"PORT\") or 7860)}/health', timeout=4)"]
CMD ["python", "server.py"]
