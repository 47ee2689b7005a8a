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
ENV RUSTFLAGS="-C target-feature=+crt-static"

# The dependencies, in a layer of their own: it is made anew when they change, and not when a line of ours does. Every
# target that Cargo.toml names has to be there, if only as an empty program.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches/gateway tests/it tests/faults \
    && for file in build.rs src/main.rs benches/gateway/main.rs benches/sim.rs tests/it/main.rs tests/faults/main.rs; do echo 'fn main() {}' >"$file"; done \
    && : >src/lib.rs \
    # A target is named so that only the program is linked statically, not the macros that the compiler loads.
    && cargo build --profile dist --locked --bin nalpaca --target "$(rustc -vV | sed -n 's/^host: //p')"

COPY . .
ARG NALPACA_REVISION=
# Files keep the times they were checked out at, which may lie before those of the empty programs.
RUN find build.rs src proto -type f -exec touch {} + \
    && host="$(rustc -vV | sed -n 's/^host: //p')" \
    && NALPACA_REVISION="$NALPACA_REVISION" cargo build --profile dist --locked --bin nalpaca --target "$host" \
    && cp "target/$host/dist/nalpaca" /nalpaca

FROM scratch
ARG NALPACA_REVISION=
LABEL org.opencontainers.image.title="nalpaca" \
      org.opencontainers.image.description="One daemon between NATS JetStream and the Alpaca brokerage" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.revision="$NALPACA_REVISION"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /nalpaca /usr/local/bin/nalpaca
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/nalpaca/
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
ENV METRICS_HOST=0.0.0.0
# Metrics and probes over HTTP; gRPC's health service.
EXPOSE 8088 7654
ENTRYPOINT ["/usr/local/bin/nalpaca"]
CMD ["serve"]
