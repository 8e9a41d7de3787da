# One image for every service of the platform; docker-compose.yml says which one a container runs.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    PATH=/opt/hps-platform/.venv/bin:$PATH \
    HPS_DATA_DIR=/var/lib/hps-platform

WORKDIR /opt/hps-platform
RUN pip install --no-cache-dir uv && useradd --system --uid 10001 --create-home hps \
    && install -d -o hps -g hps -m 0700 /var/lib/hps-platform

# Dependencies first: they change less often than the code.
COPY requirements.lock ./
RUN uv venv .venv && uv pip sync --python .venv/bin/python requirements.lock

COPY pyproject.toml README.md LICENSE dagster.yaml workspace.yaml ./
COPY hps_platform ./hps_platform
COPY dash_app ./dash_app
RUN uv pip install --python .venv/bin/python --no-deps -e .

USER hps
VOLUME /var/lib/hps-platform
CMD ["hps", "--help"]
