# Two stages: the first installs the locked dependencies, the second carries only what runs.
FROM python:3.12-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /opt/comms
COPY requirements.lock ./
RUN /opt/comms/bin/python -m pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY comms comms
COPY handlers handlers
COPY models models
RUN /opt/comms/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12-slim-bookworm
# tini is PID 1: it passes SIGTERM on and reaps what the embedded PostgreSQL leaves behind.
RUN apt-get update && apt-get install --yes --no-install-recommends tini && rm -rf /var/lib/apt/lists/* \
    # PostgreSQL refuses root and wants a user with a name.
    && useradd --system --create-home --home-dir /home/comms --shell /usr/sbin/nologin --uid 10001 comms \
    && install --directory --owner comms --group comms --mode 0700 /data
COPY --from=build /opt/comms /opt/comms
USER comms
WORKDIR /home/comms
ENV PATH=/opt/comms/bin:$PATH PYTHONUNBUFFERED=1 COMMS_HOST=0.0.0.0 COMMS_PORT=8000 COMMS_DATA_DIR=/data
# The embedded database and attachments; with DATABASE_URL and COMMS_MEDIA_URL elsewhere nothing is kept here.
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# For the web process; run `comms worker` with --no-healthcheck, it listens to nothing.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"COMMS_PORT\"]}/healthz', timeout=4)"]
ENTRYPOINT ["tini", "--"]
CMD ["comms", "serve"]
