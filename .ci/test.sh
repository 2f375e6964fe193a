#!/usr/bin/env bash
# Everything that `make test` checks, in order, with the time that each part took. It stops at the first part that fails.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/parts.sh

# compilers compares the kernels with the tables of two GPUs. Where their drivers cannot be had, that is said.
compilers() {
	if ! { command -v apt-get >/dev/null && [ "$(uname -m)" = x86_64 ]; }; then
		echo "left out: the drivers are Debian's, for x86-64"
		return
	fi
	.ci/extra-drivers.sh mesa26 .drivers/mesa26 >/dev/null && go run ./.ci/gpu -check -families navi31,adreno740
}

part "gofmt" formatted
part "top level" layout
part "go vet" go vet ./...
part "go vet, with build tags" go vet -tags big,lib,llama2,ui ./...
part "types on macOS and arm64 Linux" go run ./.ci/typecheck darwin/arm64 linux/arm64
part "staticcheck" go tool staticcheck ./...
part "limits of size, unused exports" go run ./.ci/limits
part "imports point one way" go run ./.ci/arrows
part "dead code" dead
part "what embedding programs are promised" go run ./.ci/api
part "shaders are what is committed" go run ./shaders/gen -check
part "licences allow MIT" go run ./cmd/vkcome/internal/licenses/gen -check
# Go's cache of test results does not see a change of driver: -count=1 runs them. The packages that take longest begin first, so that none runs alone in the end.
kernels=$(mktemp -d)
trap 'rm -rf "$kernels"' EXIT
part "go test, under validation" env VKCOME_VALIDATE=1 VKCOME_KERNEL_LOG="$kernels" go test -count=1 -timeout 30m ./cmd/vkcome ./prune ./... ./.ci/quality ./.ci/gpu ./.ci/dist ./.ci/api ./.ci/typecheck
part "every kernel ran on a device" go run ./shaders/gen -coverage "$kernels"
part "what GPUs' compilers make of it" compilers
part "demo" bin/vkcome demo
finish
