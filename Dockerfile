# The limiter in a container.
#
#   docker build -t ratelimitd .
#   docker run -p 8081:8081 -p 8080:8080 -e RATELIMITD_STORE=file:/counts/counts.db -v counts:/counts \
#     -v ./policy.yaml:/etc/ratelimitd/policy.yaml:ro -v ./secret:/etc/ratelimitd/secret:ro ratelimitd
#
# It listens on every address of the container, so it does not start without a secret of its own: API
# keys are hashed with it, and the published development secret is for loopback only. The file holds
# one line of random text (`openssl rand -hex 32`) and must be readable for user 10001.
#
# Calls are carried by pyvoy, the default where it is installed: a real Envoy around the process, which
# loads the image's shared Python library. `-e RATELIMITD_TRANSPORT=h2corn` takes less memory and CPU.
#
# Every flag of `serve` is also a variable, RATELIMITD_<FLAG>. The admin listener (/metrics and the
# administration of keys) is on loopback, where a sidecar in the same pod reaches it; elsewhere it wants
# RATELIMITD_ADMIN_TOKEN_FILE. The folder of a counts file must be writable for user 10001.

FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# What changes least comes first, so that its layers are kept.
COPY requirements-build.lock requirements-pyvoy.lock ./
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes --requirement requirements-build.lock
RUN python -m venv /opt/ratelimitd \
    && /opt/ratelimitd/bin/pip install --require-hashes --requirement requirements-pyvoy.lock
COPY pyproject.toml README.md LICENSE ./
COPY envoy envoy
COPY server server
RUN /opt/build/bin/hatchling build --target wheel \
    && /opt/ratelimitd/bin/pip install --no-deps dist/*.whl

FROM python:3.11-slim
COPY --from=build /opt/ratelimitd /opt/ratelimitd
ENV PATH=/opt/ratelimitd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RATELIMITD_HTTP=0.0.0.0:8080 \
    RATELIMITD_LISTEN=0.0.0.0:8081 \
    RATELIMITD_LOG_FORMAT=json \
    RATELIMITD_POLICY=/etc/ratelimitd/policy.yaml \
    RATELIMITD_SECRET_FILE=/etc/ratelimitd/secret
# A number, because Kubernetes' runAsNonRoot cannot read names.
USER 10001:10001
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=2s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz', timeout=1)"]
ENTRYPOINT ["ratelimitd"]
CMD ["serve"]
