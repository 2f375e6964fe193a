#!/usr/bin/env bash
# Whether what vkcome makes of the embedded model is the same to the byte as at another commit: every method at 10 and 8 layers, healing,
# scores of tasks, perplexity, divergence, logits and a continuation. For changes that must change nothing.
#
#   .ci/same.sh REV             builds REV beside the working tree, runs both, and lists what differs
#   .ci/same.sh sums BINARY     the SHA-256 of each result of one binary
#
# Bits depend on driver and processor, so sums are compared on the machine that made them. The driver is chosen as for any Vulkan program:
# (. .drivers/mesa26/env && .ci/same.sh REV).
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

sums() {
	local bin data=$root/testdata
	bin=$(realpath "$1")
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	cd "$dir"
	quietly() { "$bin" "$@" >"$dir/said" 2>&1 || { cat "$dir/said" >&2; echo "failed: vkcome $*" >&2; exit 1; }; }
	local calibration=(--tokens "$data/golden/calib_tokens.json" --samples 8) m=embedded:tiny12
	for method in come come-p weightsum shortgpt sleb laco mka magnitude magnitude+ taylor taylor+ reverse; do
		local corpus=("${calibration[@]}")
		case $method in magnitude* | reverse) corpus=() ;; esac
		quietly prune $m "$method-8" -m "$method" --target-layers 8 "${corpus[@]}" --save-steps
	done
	quietly prune $m drop-10 -m drop --layers 3,7
	quietly prune $m drop-8 -m drop --layers 3,4,5,7
	quietly prune $m options-8 --target-layers 8 "${calibration[@]}" --merge-item 3 --no-repeat=false --psu 2 --min-max 0.3 --norm ratio --sensitivity l2 --compat reference --protect 0,-1 --all-scores
	quietly prune $m healed-10 --target-layers 10 "${calibration[@]}" --heal mp --budget-tokens 16384 --batch 4 --loss kl
	quietly prune $m small-8 --target-layers 8 "${calibration[@]}" --max-device-memory 8MiB
	for loss in mse kl nmse cos kl-lens; do
		quietly distill $m come-8 "healed-8-$loss" "${calibration[@]}" --loss "$loss" --budget-tokens 8192 --batch 4
	done
	quietly distill $m come-8 healed-8 "${calibration[@]}" --input student --budget-tokens 8192 --batch 4 --end-to-end 3
	quietly stats $m stats.json "${calibration[@]}"
	quietly logits $m --out logits.safetensors "${calibration[@]}"
	for bits in "" 8MiB; do
		quietly eval tasks $m healed-8 --tasks all --limit 5 --data "$data/lmeval/data" --no-cache --bootstrap-iters 100 -o "tasks$bits" --log-samples ${bits:+--max-device-memory $bits}
	done
	find . -name 'results_*.json' -delete # with times and the host's name in it; the answers lie beside it
	"$bin" eval ppl healed-8 --tokens "$data/golden/eval_tokens.json" -q >ppl
	"$bin" eval kld healed-8 --base $m --tokens "$data/golden/eval_tokens.json" -q >kld
	"$bin" generate $m --prompt "The first" -n 40 -q >continuation 2>/dev/null
	rm -f said
	find . -type f | LC_ALL=C sort | while read -r f; do
		printf '%s  %s\n' "$(sha256sum <"$f" | cut -d' ' -f1)" "$(sed -E 's/_20[0-9]{2}-[^.]*(\.[0-9]+)?//' <<<"$f")"
	done
}

case ${1:-} in
sums) sums "$2" ;;
"" | -*) echo "usage: .ci/same.sh REV | .ci/same.sh sums BINARY" >&2; exit 2 ;;
*)
	tmp=$(mktemp -d)
	trap 'git worktree remove --force "$tmp/tree"; rm -rf "$tmp"' EXIT
	git worktree add -q --detach "$tmp/tree" "$1"
	(cd "$tmp/tree" && go build -o "$tmp/then" ./cmd/vkcome)
	go build -o "$tmp/now" ./cmd/vkcome
	"$0" sums "$tmp/then" >"$tmp/then.sums"
	"$0" sums "$tmp/now" >"$tmp/now.sums"
	diff "$tmp/then.sums" "$tmp/now.sums" && echo "all $(wc -l <"$tmp/now.sums") files are the same"
	;;
esac
