#!/usr/bin/env bash
# What vkcome is on Windows: builds it with mingw-w64 and runs it under Wine, on the Vulkan drivers of this machine. Nothing here proves anything of a real
# Windows or of a GPU's driver there.
#
#   .ci/windows.sh          vet, staticcheck, the runs below, and the unit tests of the packages that touch the system
#   .ci/windows.sh quick    the build, a prune and what ends one; a minute or two on a machine that has nothing else to do
#
# Wine is Debian 13's, beside the system in .drivers/wine10: Debian 12's lacks bcryptprimitives.dll, which Go needs, and a way of removing folders.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/parts.sh
quick=${1:-}
.ci/setup.sh windows
.ci/extra-drivers.sh wine10 .drivers/wine10
wine=$PWD/.drivers/wine10/run
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

windows() { GOOS=windows GOARCH=amd64 CGO_ENABLED=1 CC=x86_64-w64-mingw32-gcc "$@"; }
say() { echo "windows: $*"; return 1; }

# alone runs a function in a shell of its own, where the first command that fails ends it: in one that part calls, bash would go on.
alone() { bash -euo pipefail -c "$(declare -p wine tmp tokens how); $(declare -f); \"\$@\"" windows "$@"; }

build() {
	windows go build -o "$tmp/vkcome.exe" ./cmd/vkcome
	windows go build -o "$tmp/interrupt.exe" ./.ci/interrupt
	go build -o "$tmp/vkcome" ./cmd/vkcome
}

static() {
	windows go vet ./...
	go build -o "$tmp/staticcheck" honnef.co/go/tools/cmd/staticcheck
	windows "$tmp/staticcheck" ./...
}

# vkcome runs the program for Windows.
vkcome() { "$wine" "$tmp/vkcome.exe" "$@"; }
tokens=$PWD/testdata/golden/calib_tokens.json
how=(-m come --target-layers 8 --tokens "$tokens" --window 128)

# same compares all files of two outputs.
same() { diff -r "$1" "$2" || say "$2 is not what Linux writes"; }

answers() {
	vkcome version
	vkcome devices
	vkcome devices --json >"$tmp/stdout"
	grep -q '"uuid"' "$tmp/stdout"
	! vkcome no-such-command 2>"$tmp/stderr" || say "no error of an unknown command"
	grep -q 'vkcome: unknown command' "$tmp/stderr"
}

# prune: the same bytes as on Linux, into a folder with spaces and letters of several scripts; what is redirected has no carriage returns and no escapes.
prunes() {
	local out="$tmp/ein Ordner für 模型 😀"
	mkdir "$out"
	"$tmp/vkcome" prune embedded:tiny12 "$tmp/linux" "${how[@]}" -q >/dev/null
	vkcome prune embedded:tiny12 "$out/acht Schichten" "${how[@]}" --max-host-memory 400MiB >"$tmp/stdout" 2>"$tmp/stderr"
	cat "$tmp/stdout" "$tmp/stderr"
	! grep -qP '[\r\x1b\x08]' "$tmp/stdout" "$tmp/stderr" || say "control characters in what was redirected"
	grep -qP 'host memory: [1-3]\d\d MiB of 400 MiB counted at most' "$tmp/stderr" || say "the limit of host memory is not kept, or what is resident is not known"
	same "$tmp/linux" "$out/acht Schichten"
}

# killed by TerminateProcess, and resumed: the same bytes.
killed() {
	local code=0
	"$wine" "$tmp/interrupt.exe" "Z:$tmp/.killed.vkcome-work/step-000001" kill "Z:$tmp/vkcome.exe" prune embedded:tiny12 "Z:$tmp/killed" "${how[@]}" -q >/dev/null || code=$?
	[ $code = 77 ] || say "exit code $code of a run that was to be killed, expected 77"
	! vkcome prune embedded:tiny12 "$tmp/killed" "${how[@]}" -q >/dev/null 2>"$tmp/stderr" || say "it began anew without a word"
	grep -q -- '--resume' "$tmp/stderr"
	vkcome prune embedded:tiny12 "$tmp/killed" "${how[@]}" -q --resume >/dev/null
	same "$tmp/linux" "$tmp/killed"
	[ ! -e "$tmp/.killed.vkcome-work" ] || say "the work folder is left"
}

# interrupted by ^C, as a console gives it, which Wine has where there is a terminal: exit code 130, and resumed the same bytes.
interrupted() {
	local code=0
	cat >"$tmp/press" <<-EOF
		exec "$wine" Z:$tmp/interrupt.exe Z:$tmp/.interrupted.vkcome-work/step-000001 1 \
			Z:$tmp/vkcome.exe prune embedded:tiny12 Z:$tmp/interrupted ${how[*]} 2>"$tmp/stderr"
	EOF
	script -qec "sh $tmp/press" /dev/null </dev/null >/dev/null || code=$?
	cat "$tmp/stderr"
	[ $code = 130 ] || say "exit code $code after ^C, expected 130"
	grep -q 'interrupted.*--resume' "$tmp/stderr" || say "no word of how to go on"
	vkcome prune embedded:tiny12 "$tmp/interrupted" "${how[@]}" -q --resume >/dev/null
	same "$tmp/linux" "$tmp/interrupted"
}

# memory: a limit that is too small is refused by what is resident, which Windows is asked for.
limited() {
	! vkcome prune embedded:tiny12 "$tmp/limited" "${how[@]}" -q --max-host-memory 20MiB >/dev/null 2>"$tmp/stderr" || say "20 MiB of host memory were enough"
	cat "$tmp/stderr"
	grep -q -- '--max-host-memory' "$tmp/stderr"
}

demo() { vkcome demo; }

# unit runs the tests of packages that touch the system. They are built here, and run where their testdata is. Two of vk are left out: Wine's vulkan-1.dll
# takes the drivers that Linux has, whatever a variable of Windows says, and no layers.
unit() {
	local pkg failed=
	for pkg in "$@"; do
		windows go test -c -o "$tmp/test.exe" "./$pkg"
		(cd "$pkg" && "$wine" "$tmp/test.exe" -test.timeout 20m -test.skip '^(TestNoDevice|TestValidationSeesHazards)$') >"$tmp/log" 2>&1 || failed=1
		printf '%-28s %s\n' "$pkg" "$(tail -n 1 "$tmp/log")"
		[ -z "$failed" ] || { cat "$tmp/log"; return 1; }
	done
}

part "build with mingw-w64" alone build
[ "$quick" ] || part "go vet, staticcheck" alone static
part "version, devices" alone answers
part "prune, as on Linux" alone prunes
part "killed, resumed" alone killed
part "^C, resumed" alone interrupted
part "a limit of host memory" alone limited
part "unit tests, short" alone unit model/files model/memory model/internal/pages vk/internal/native model/gguf
if [ ! "$quick" ]; then
	part "demo" alone demo
	part "unit tests" alone unit model/safetensors model/hub model/states prune/work vk
fi
finish
