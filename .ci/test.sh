#!/usr/bin/env bash
# Everything that `make test` checks, in order, with the time that each part took. It stops at the first part that fails.
set -euo pipefail
cd "$(dirname "$0")/.."
summary=()

part() {
	local name=$1 began=$SECONDS status=0
	shift
	printf '\n== %s\n' "$name"
	"$@" || status=$?
	summary+=("$(printf '%-34s %4d s%s' "$name" $((SECONDS - began)) "$([ $status = 0 ] || echo '   FAILED')")")
	[ $status = 0 ] || finish
}

finish() {
	printf '\n== summary\n'
	printf '%s\n' "${summary[@]}"
	[ "${status:-0}" = 0 ] && printf 'all passed in %d s\n' $SECONDS
	exit "${status:-0}"
}

formatted() {
	local files
	files=$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l)
	[ -z "$files" ] || { printf 'gofmt would change:\n%s\n' "$files"; return 1; }
}

part "gofmt" formatted
part "go vet" go vet ./...
part "staticcheck" go tool staticcheck ./...
part "shaders are what is committed" go run ./shaders/gen -check
# Go's cache of test results does not see a change of driver: -count=1 runs them.
kernels=$(mktemp -d)
trap 'rm -rf "$kernels"' EXIT
part "go test, under validation" env VKCOME_VALIDATE=1 VKCOME_KERNEL_LOG="$kernels" go test -count=1 -timeout 30m ./...
part "every kernel ran on a device" go run ./shaders/gen -coverage "$kernels"
part "demo" bin/vkcome demo
finish
