# prenas as an OCI image: every command, and the server of docs/serve.md.
#
#	docker build --tag prenas .
#	docker run --rm --volume "$PWD:/data" --user "$(id -u):$(id -g)" prenas train ...
#	docker run --rm --volume "$PWD/models:/models:ro" --publish 127.0.0.1:8080:8080 \
#		prenas serve /models --listen :8080
#
# It is for x86-64, as the plug-in is. The build needs the registries of images, of Debian, of Go and of Python, and nothing else.
# The image has the XLA plug-in and onnxruntime inside, so that a container needs no network.

FROM golang:1.26-bookworm AS build
RUN apt-get update \
	&& apt-get install --yes --no-install-recommends python3 python3-pip unzip \
	&& rm -rf /var/lib/apt/lists/*
WORKDIR /src
# Libraries of others first: a change of prenas does not fetch them anew.
COPY go.mod go.sum ./
RUN go mod download
# The version that the tests have; the hash is of the wheel for Python 3.11, this stage's.
RUN printf '%s --hash=sha256:%s\n' onnxruntime==1.32.0 \
		5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d >/tmp/requirements \
	&& python3 -m pip download --quiet --require-hashes --no-deps --only-binary=:all: \
		--dest /wheels --requirement /tmp/requirements \
	&& mkdir -p /out/lib \
	&& unzip -q -j /wheels/onnxruntime-*.whl 'onnxruntime/capi/libonnxruntime.so.*' -d /out/lib \
	&& mv /out/lib/libonnxruntime.so.* /out/lib/libonnxruntime.so
COPY . .
# No .git, no revision: --build-arg VCS=false builds from a copy of the files alone.
ARG VCS=auto
RUN go build -trimpath -buildvcs="$VCS" -o /out/bin/prenas ./cmd/prenas
# doctor gets the plug-in with pip, checks its SHA-256, and shows that the program runs.
RUN XDG_CACHE_HOME=/cache /out/bin/prenas doctor \
	&& mv /cache/prenas/pjrt/*/pjrt_c_api_cpu_plugin.so /out/lib/

FROM debian:bookworm-slim
RUN apt-get update \
	&& apt-get install --yes --no-install-recommends ca-certificates libstdc++6 \
	&& rm -rf /var/lib/apt/lists/* \
	&& install --directory --mode=1777 /data /var/cache/prenas
COPY --from=build /out/ /usr/local/
ENV PRENAS_PJRT_PLUGIN=/usr/local/lib/pjrt_c_api_cpu_plugin.so \
	PRENAS_ONNXRUNTIME=/usr/local/lib/libonnxruntime.so \
	XDG_CACHE_HOME=/var/cache/prenas \
	HOME=/var/cache/prenas
WORKDIR /data
# nobody, by number, so that an orchestrator sees that it is not root.
USER 65534:65534
EXPOSE 8080
ENTRYPOINT ["prenas"]
CMD ["--help"]
