#!/usr/bin/env bash
# The whole suite on other drivers than the system's: SwiftShader and lavapipe of Mesa 26, each under its validation layer.
# Driver names as arguments choose some of them; ARGS go to `go test` (make test-drivers ARGS='-run TestLinear').
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- swiftshader mesa26
failed=()
for driver; do
	printf '\n== %s\n' "$driver"
	.ci/extra-drivers.sh "$driver" ".drivers/$driver"
	# SwiftShader computes some 50 times slower than lavapipe: hence the time.
	(. ".drivers/$driver/env" && VKCOME_VALIDATE=1 go test -count=1 -timeout 60m ${ARGS:-} ./...) || failed+=("$driver")
done
[ ${#failed[@]} = 0 ] || { printf '\nfailed on: %s\n' "${failed[*]}"; exit 1; }
printf '\npassed on: %s\n' "$*"
