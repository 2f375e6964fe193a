#!/usr/bin/env bash
# vkcome for arm64 Linux, built here and run under qemu-user: what it prints of a model and of a text, against the same on this machine, and the
# tests that need no device. With `device` also Debian's lavapipe for arm64, on which it prunes and measures: the layers must be the same, and
# the perplexity to 1e-4. Debian on another architecture than arm64; what it builds is in bin/arm64.
#
#   .ci/arm64.sh           without a device
#   .ci/arm64.sh device    and with one: 57 MB of packages, 260 MB unpacked into .drivers/arm64
set -euo pipefail
cd "$(dirname "$0")/.."
root=/usr/aarch64-linux-gnu
run() { qemu-aarch64-static -L "$root" bin/arm64/vkcome "$@"; }
cross() { env GOARCH=arm64 CGO_ENABLED=1 CC=aarch64-linux-gnu-gcc "$@"; }
go build -o bin/vkcome ./cmd/vkcome
cross go build -o bin/arm64/vkcome ./cmd/vkcome

# same WHAT ARGS: the program prints the same on both.
same() {
	local what=$1
	shift
	diff <(bin/vkcome "$@") <(run "$@") || { echo "arm64: $what differs: < here, > arm64"; exit 1; }
	echo "the same on arm64: $what"
}
run version
same "what is known of the model" inspect embedded:tiny12 --json
same "tokens" tokenize embedded:tiny12 "The film is a bigger-based 'mail', naïve as ever."

# lavapipe unpacks the packages, with all that they need, beside the system.
lavapipe() {
	local dir=$PWD/.drivers/arm64
	root=$dir/root
	export VK_ICD_FILENAMES=$dir/lvp.json
	[ ! -e "$VK_ICD_FILENAMES" ] || return 0
	rm -rf "$dir"
	mkdir -p "$root" "$dir/lists/partial" "$dir/cache/archives/partial"
	: >"$dir/status"
	local apt="apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State::Lists=$dir/lists -o Dir::State::status=$dir/status
		-o Dir::Cache=$dir/cache -o APT::Sandbox::User=root -o Acquire::Languages=none"
	$apt update >/dev/null
	$apt install -y --no-install-recommends --download-only libvulkan1 mesa-vulkan-drivers >/dev/null
	for package in "$dir"/cache/archives/*.deb; do
		dpkg --fsys-tarfile "$package" | tar -x -C "$root" --exclude=./usr/share/doc --exclude=./usr/share/locale
	done
	rm -rf "$dir/lists" "$dir/cache"
	sed "s#/usr/lib/#$root/usr/lib/#" "$root"/usr/share/vulkan/icd.d/lvp_icd.aarch64.json >"$VK_ICD_FILENAMES"
}

# layers and perplexity are those of a model in a folder: its tree, and a number.
layers() { bin/vkcome inspect "$1" --json | tr -d ' \n' | grep -o '"tree":[^"]*'; }

device() {
	local corpus
	work=$(mktemp -d) # of the script: it goes when that ends
	trap 'rm -rf "$work"' EXIT
	corpus="--tokens testdata/golden/calib_tokens.json --window 32 --samples 4"
	VKCOME_TIER=subgroup bin/vkcome prune embedded:tiny12 "$work/here" -m come --target-layers 11 $corpus -q
	VKCOME_TIER=subgroup bin/vkcome eval ppl "$work/here" $corpus --json >"$work/here.json"
	lavapipe
	export XDG_CACHE_HOME=$work/cache
	run devices
	run prune embedded:tiny12 "$work/arm64" -m come --target-layers 11 $corpus -q
	run eval ppl "$work/arm64" $corpus --json >"$work/arm64.json"
	[ "$(layers "$work/here")" = "$(layers "$work/arm64")" ] && layers "$work/arm64" || { echo "arm64: other layers are merged, or none"; exit 1; }
	# Sums in another order: lanes are 4 there and 8 here.
	awk -F'[:,]' '/"perplexity"/ { p[++n] = $2 } END { d = p[1] / p[2] - 1; print "perplexity here" p[1] ", on arm64" p[2]; exit !(n == 2 && d < 1e-4 && d > -1e-4) }' \
		"$work/here.json" "$work/arm64.json" || { echo "arm64: the perplexities differ"; exit 1; }
}
if [ "${1:-}" = device ]; then
	device
	exit
fi
# A package more whose tests need no device is a name more. Left out of tokenizer: what takes minutes, or is held to seconds.
QEMU_LD_PREFIX=$root cross go test -exec qemu-aarch64-static -timeout 20m -skip '^(TestLongPieces|TestGrowth|TestCounts)$' \
	./model/arch ./model/chat/... ./model/corpus ./model/dtype ./model/eval/task ./model/files ./model/gguf ./model/hub ./model/internal/... \
	./model/printable ./model/safetensors ./model/tokenizer ./model/torchfile ./prune/card ./prune/work ./shaders/spirv
