# What .ci/check.sh and .ci/test.sh share: parts that run in order, each with its time, up to the first that fails.
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

# layout refuses files at the top that nobody agreed on: a binary that was built there and added with everything else, for one.
layout() {
	local found
	found=$(git ls-files | cut -d/ -f1 | sort -u | grep -vxE '\..*|shaders|vk|model|prune|cmd|testdata|go\.mod|go\.sum|Makefile|README\.md|LICENSE' || true)
	[ -z "$found" ] || { printf 'not of the top level: %s\n' "$found"; return 1; }
}

# dead lists functions that nothing reaches: no binary and no test; and no binary, among operations and internal packages, whose tests must
# not be all that keeps them. That C calls what libvkcome exports, and cgo's own code there, is not known to the tool.
dead() {
	local found
	found=$(go tool deadcode -test ./... ./.ci/gpu ./.ci/dist && go tool deadcode -filter 'vkcome/(model/op$|.*internal/)' ./... ./.ci/gpu ./.ci/dist | grep -v '^cmd/libvkcome/internal/')
	found=$(grep -v '^cmd/libvkcome/main.go:[0-9]*:0:' <<<"$found" || true)
	[ -z "$found" ] || { printf '%s\n' "$found"; return 1; }
}
