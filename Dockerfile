# One image for all services: `tokenline serve SERVICE --config FILE`.
#
# BASE is Debian 12 with Python 3.11 and pip; where this one cannot be pulled, build on another: --build-arg BASE=NAME. What runs is
# made from it without what only builds (pip, apt, Perl): there is less to carry, and less for an intruder to use.
ARG BASE=docker.io/library/python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM ${BASE} AS packages
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends binutils
COPY requirements.lock /src/
# Packages bring the debugging symbols of their extensions, a seventh of the image. They bring their C and Cython sources, too, and two
# packages that are never imported here: a tokenizer's numpy (docs/decisions/0013-tokenizers.md), and faker, with which Litestar's OpenAPI
# would make examples.
RUN python3 -m venv --without-pip /opt/tokenline \
 && python3 -m pip --python /opt/tokenline/bin/python install --no-cache-dir --disable-pip-version-check --no-compile \
    --root-user-action=ignore --require-hashes -r /src/requirements.lock \
 && rm -rf /opt/tokenline/lib/python3.11/site-packages/numpy* /opt/tokenline/lib/python3.11/site-packages/[Ff]aker* \
 && find /opt/tokenline/lib -type f \( -name '*.c' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.h' \) -delete \
 && find /opt/tokenline/lib -type f -name '*.so' -exec strip --strip-unneeded {} + \
 && python3 -m compileall -q -j 0 /opt/tokenline/lib

FROM packages AS tokenline
COPY requirements-build.lock /src/
RUN python3 -m venv --without-pip /opt/build \
 && python3 -m pip --python /opt/build/bin/python install --no-cache-dir --disable-pip-version-check \
    --root-user-action=ignore --require-hashes -r /src/requirements-build.lock
COPY pyproject.toml README.md LICENSE /src/
COPY services /src/services
COPY protos/gen /src/protos/gen
# The wheel, as anybody installs it: with its command, and what Python knows of it, its version for one. The file system is read-only
# where it runs, so byte code is made here.
RUN cp /src/LICENSE /opt/tokenline/ && cd /src && /opt/build/bin/python -m hatchling build --target wheel --directory /src/wheel \
 && python3 -m pip --python /opt/tokenline/bin/python install --no-cache-dir --disable-pip-version-check --no-compile \
    --root-user-action=ignore --no-deps --no-index /src/wheel/tokenline-*.whl \
 && ln -s lib/python3.11/site-packages/services/registry/base_catalog /opt/tokenline/catalog \
 && python3 -m compileall -q /opt/tokenline/lib/python3.11/site-packages/services /opt/tokenline/lib/python3.11/site-packages/tokenline \
    /opt/tokenline/lib/python3.11/site-packages/etcdserverpb

# Some bases have no byte code, and where this runs nothing can be written: it would be made anew at every start.
FROM ${BASE} AS root
RUN rm -rf /usr/lib/python3*/dist-packages /usr/share/python-wheels /usr/local/lib/python3*/site-packages/* /usr/local/bin/pip* \
    /usr/local/lib/python3*/test /usr/local/lib/python3*/idlelib /usr/lib/python3*/test \
    /usr/bin/perl* /usr/share/perl* /usr/lib/*-linux-gnu/perl* /usr/lib/*-linux-gnu/libperl* \
    /usr/bin/apt* /usr/bin/dpkg* /usr/lib/apt /usr/lib/dpkg /etc/apt /var/lib/apt /var/lib/dpkg/info /var/cache/* /var/log/* \
    /usr/share/doc /usr/share/man /usr/share/locale /usr/share/info /usr/share/lintian /root/.cache /tmp/* \
 && { python3 -m compileall -q -j 0 "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" || true; } \
 && find / -xdev -perm /6000 -type f -exec chmod a-s {} +

FROM scratch
COPY --from=root / /
COPY --from=tokenline /opt/tokenline /opt/tokenline
ENV PATH=/opt/tokenline/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /opt/tokenline
ENTRYPOINT ["tokenline"]
