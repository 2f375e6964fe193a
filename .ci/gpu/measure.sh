#!/bin/sh
# What a borrowed GPU is asked in under ten minutes: are the operations right there, how fast are they, what do pruning and training take, and
# how fast is llama.cpp beside them.
#
#   .ci/gpu/measure.sh build DIR      where Go is: puts what the other needs into DIR (60 MB)
#   .ci/gpu/measure.sh run DIR OUT    on the GPU's machine, which needs nothing else but a Vulkan driver and its loader
#
# DIR may hold model.gguf, which vkcome and llama.cpp are both timed with (without it the embedded model is), and llama-bench, built with Vulkan.
# The result is OUT/measure.json: a step has what it ran, its exit status (124: out of time), seconds and what it printed. A step that fails stops
# none after it; the exit status is 1 if one did. SCALE=2 doubles each step's time.
set -eu

if [ "${1-}" = build ] && [ $# = 2 ]; then
    mkdir -p "$2"
    go build -o "$2/vkcome" ./cmd/vkcome
    go test -c -o "$2/op.test" ./model/op
    cp testdata/golden/calib_tokens.json "$2/tokens.json"
    exit
fi
if [ "${1-}" != run ] || [ $# != 3 ]; then
    sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
dir=$(cd "$2" && pwd)
mkdir -p "$3"
out=$(cd "$3" && pwd)
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# string prints a file as a JSON string; json as it is, if it is JSON by its first character and nothing cut it short.
string() {
    tail -c 8000 "$1" | tr -d '\000-\010\013-\037' | awk 'BEGIN { ORS = ""; print "\"" } { gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); gsub(/\t/, "\\t"); print $0 "\\n" } END { print "\"" }'
}
json() {
    case "$2:$(head -c 1 "$1")" in
    0:\{ | 0:\[) cat "$1" ;;
    *) string "$1" ;;
    esac
}

# step NAME SECONDS COMMAND...
step() {
    name=$1 limit=$(($2 * ${SCALE:-1})) began=$(date +%s.%N)
    shift 2
    echo "$name: $*" >&2
    rc=0
    (cd "$work" && exec timeout "$limit" "$@") >"$work/stdout" 2>"$work/stderr" || rc=$?
    took=$(awk "BEGIN { printf \"%.1f\", $(date +%s.%N) - $began }")
    [ $rc = 0 ] || { failed=1 && echo "$name: exit status $rc after $took s: $(tail -n 1 "$work/stderr")" >&2; }
    echo "$*" >"$work/command"
    {
        printf '%s{"name": "%s", "command": %s, "status": %s, "seconds": %s,\n "stdout": ' "$comma" "$name" "$(string "$work/command")" $rc "$took"
        json "$work/stdout" $rc
        printf ',\n "stderr": %s}' "$(string "$work/stderr")"
    } >>"$out/measure.json"
    comma=",
"
}

comma=
printf '{"date": "%s", "host": "%s", "steps": [\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$(uname -srm)" >"$out/measure.json"
model=embedded:tiny12
[ ! -e "$dir/model.gguf" ] || model=$dir/model.gguf
corpus="--tokens $dir/tokens.json --window 128"

step devices 20 "$dir/vkcome" devices --json
step tests 220 "$dir/op.test" -test.short -test.timeout 10m
step bench 90 "$dir/vkcome" bench "$model" -r 3 -o json -q
step prune 40 "$dir/vkcome" prune "$model" "$work/pruned" --target-layers 8 --samples 16 $corpus -q
step perplexity 20 "$dir/vkcome" eval ppl "$work/pruned" --samples 8 $corpus --json -q
step heal 60 "$dir/vkcome" distill "$model" "$work/pruned" "$work/healed" --samples 16 $corpus --budget 30s -q
step healed 20 "$dir/vkcome" eval ppl "$work/healed" --samples 8 $corpus --json -q
if [ -x "$dir/llama-bench" ]; then
    gguf=$model
    if [ "$model" = embedded:tiny12 ]; then
        gguf=$work/model.gguf
        step convert 20 "$dir/vkcome" convert "$model" "$gguf" -q
    fi
    step llama.cpp 90 "$dir/llama-bench" -m "$gguf" -p 512 -n 64 -ngl 99 -r 3 -o json
fi
printf '\n], "failed": %s}\n' $failed >>"$out/measure.json"
echo "$out/measure.json" >&2
exit $failed
