#!/usr/bin/env bash
# The whole suite on other drivers than the system's: SwiftShader and lavapipe of Mesa 26, each under its validation layer. Then the operations' tests
# under every profile of vk/profile.go, on the system's driver and on Mesa 26, which has cooperative matrices for those that take them.
# Names as arguments choose some of `swiftshader mesa26 profiles`; ARGS go to `go test` (make test-drivers ARGS='-run TestLinear').
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- swiftshader mesa26 profiles
failed=()

# tested runs packages' tests on a driver, "" for the system's, and notes what failed.
tested() {
	local driver=$1 profile=$2
	shift 2
	printf '\n== %s\n' "${driver:-system} $profile"
	# SwiftShader computes some 50 times slower than lavapipe: hence the time.
	( [ -z "$driver" ] || . ".drivers/$driver/env"
		VKCOME_PROFILE=$profile VKCOME_VALIDATE=1 go test -count=1 -timeout 60m ${ARGS:-} "$@") || failed+=("${driver:-system} $profile")
}

for part; do
	case $part in
	profiles)
		.ci/extra-drivers.sh mesa26 .drivers/mesa26
		profiles=$(sed -n 's/^\t{Name: "\([a-z]*\)".*/\1/p' vk/profile.go)
		[ "$(wc -w <<<"$profiles")" -ge 8 ] || { echo "no profiles found in vk/profile.go"; exit 1; }
		for profile in $profiles; do
			tested "" "$profile" ./model/op
			tested mesa26 "$profile" ./model/op
		done
		;;
	*)
		.ci/extra-drivers.sh "$part" ".drivers/$part"
		tested "$part" "" ./...
		;;
	esac
done
[ ${#failed[@]} = 0 ] || { printf '\nfailed on: %s\n' "${failed[@]}"; exit 1; }
printf '\npassed on: %s\n' "$*"
