# The order worker as an image. docs/docker.md tells how to run it.

# Packages are installed here; the image that runs gets the finished virtualenv and none of the tools.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
RUN python -m venv --without-pip /opt/logistics
WORKDIR /src
# Of the optional packages: none for a worker, `--build-arg EXTRAS=console` for the console.
ARG EXTRAS=""
# What is needed changes less often than the code: a layer of its own.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
extras = [line for extra in '$EXTRAS'.split() for line in project['optional-dependencies'][extra]]; \
print(*project['dependencies'], *extras, sep='\n')" > requirements.txt \
    && pip --python /opt/logistics/bin/python install --only-binary=:all: --constraint constraints.txt --requirement requirements.txt
COPY . .
RUN pip --python /opt/logistics/bin/python install --no-deps . \
    && pip --python /opt/logistics/bin/python check

FROM python:3.13-slim
LABEL org.opencontainers.image.title="logistics" \
      org.opencontainers.image.description="An order worker: RabbitMQ in, MongoDB and a supplier out." \
      org.opencontainers.image.version="0.1.0"
# A number, so that a cluster can see that it is not root.
RUN groupadd --gid 10001 logistics \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin logistics
COPY --from=build /opt/logistics /opt/logistics
# Nothing is written to the file system: it may be mounted read-only.
ENV PATH=/opt/logistics/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONFAULTHANDLER=1 \
    LOGISTICS_HEALTH_ADDR=0.0.0.0:8081
USER 10001:10001
EXPOSE 8081
STOPSIGNAL SIGTERM
# An opener of its own: it goes through no proxy and takes a 503 as an answer, whose text says what is wrong.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-I", "-c", "import os, sys, urllib.request as web; \
port = os.environ['LOGISTICS_HEALTH_ADDR'].rpartition(':')[2]; \
opener = web.OpenerDirector(); \
opener.add_handler(web.HTTPHandler()); \
answer = opener.open('http://127.0.0.1:' + port + '/livez', timeout=4); \
print(answer.read().decode()); \
sys.exit(answer.status != 200)"]
ENTRYPOINT ["logistics"]
CMD ["worker"]
