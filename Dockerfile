# syntax=docker/dockerfile:1
#
# The image of the gateway: one static program, the certificate authorities, and nothing else. Not run as root.
#   docker build --build-arg NALPACA_REVISION="$(git rev-parse --short HEAD)" --tag nalpaca .

FROM rust:1.95-slim-bookworm AS build
# aws-lc, the TLS provider, is C.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates cmake gcc g++ libc6-dev make perl \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ARG NALPACA_REVISION=
# The mounts keep the compiled dependencies from one build to the next, so the program is copied out of them.
# A target is named so that only the program is linked statically, not the macros that the compiler loads.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    host="$(rustc -vV | sed -n 's/^host: //p')" \
    && NALPACA_REVISION="$NALPACA_REVISION" RUSTFLAGS="-C target-feature=+crt-static" \
       cargo build --release --locked --bin nalpaca --target "$host" \
    && cp "target/$host/release/nalpaca" /nalpaca

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /nalpaca /usr/local/bin/nalpaca
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/nalpaca/
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
ENV METRICS_HOST=0.0.0.0
# Metrics and probes.
EXPOSE 8088
ENTRYPOINT ["/usr/local/bin/nalpaca"]
CMD ["serve"]
