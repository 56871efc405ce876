# Two images from one file: `docker build --target webhook .` and `docker build --target agent .`.
# Both hold one static binary, the certificates of public authorities and the names of two users, nothing else: no shell, no
# package manager. They run as nonroot, write nothing to their root file system, and can be built for another platform
# without emulation. `make release` builds the same images without a container engine; a test compares the two.

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
# Modules first: they change less often than the code, so the layer is kept.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS TARGETARCH VERSION=dev

FROM build AS build-webhook
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /out/saguard-webhook ./cmd/saguard-webhook

FROM build AS build-agent
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /out/saguard-agent ./cmd/saguard-agent

FROM scratch AS base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY release/rootfs/ /
USER 65532:65532

FROM base AS agent
COPY --from=build-agent /out/saguard-agent /saguard-agent
ENTRYPOINT ["/saguard-agent"]

# Last, so that a build without --target makes the webhook.
FROM base AS webhook
COPY --from=build-webhook /out/saguard-webhook /saguard-webhook
EXPOSE 10250 8080 8081
ENTRYPOINT ["/saguard-webhook"]
