#!/usr/bin/env bash
# What `make test-dist` checks of the archives, as root: two builds of the commit give the same bytes; the archive for Linux works in a Debian 12
# that has nothing but its smallest set of packages, and in a container; that for arm64 starts under qemu, that for Windows runs its demo under Wine.
set -euo pipefail
cd "$(dirname "$0")/../.."
. .ci/parts.sh
root=$PWD
[ "$(id -u)" = 0 ] || { echo "test-dist: it makes a chroot: run it as root" >&2; exit 1; }

# commit is the one that was built first.
commit() { sed -n 's/^vkcome .*, commit \([0-9a-f]*\) .*/\1/p' "$work/report"; }

first() { go run ./.ci/dist -out "$work/first" | tee "$work/report"; }

# second builds again with all that might leave a trace being another: user, home, folders, caches, umask, language, time zone. The modules are
# those that are here already.
second() {
	local nobody=65534 clone="$work/another folder/clone"
	git -c advice.detachedHead=false clone --quiet --no-tags --no-hardlinks . "$clone" # hard links would have their owner changed where they come from
	git -C "$clone" -c advice.detachedHead=false checkout --quiet --detach "$(commit)"
	mkdir "$work/modules" "$work/home" "$work/second" "$work/temporary"
	chown -R $nobody:$nobody "$work/another folder" "$work/home" "$work/second" "$work/temporary"
	mount --bind "$(go env GOMODCACHE)" "$work/modules"
	(
		cd "$clone"
		umask 077
		env -i PATH="$PATH" USER=somebody LOGNAME=somebody HOME="$work/home" TMPDIR="$work/temporary" LC_ALL=tr_TR.UTF-8 LANG=tr_TR.UTF-8 TZ=Asia/Kathmandu \
			GOFLAGS=-buildvcs=false CGO_CFLAGS="-O0 -g" GOMODCACHE="$work/modules" GOPROXY="$(go env GOPROXY)" GOTOOLCHAIN=local \
			setpriv --reuid=$nobody --regid=$nobody --clear-groups go run ./.ci/dist -out "$work/second" >/dev/null
	)
	umount "$work/modules"
}

compared() {
	diff -r "$work/first" "$work/second" && (cd "$work/first" && sha256sum --strict -c SHA256SUMS)
}

unpacked() {
	mkdir "$work/unpacked"
	for archive in "$work"/first/*.tar.gz; do
		tar -xzf "$archive" -C "$work/unpacked"
	done
	unzip -q "$work"/first/*.zip -d "$work/unpacked"
	local file
	for file in "$work"/unpacked/*/{vkcome,vkcome.exe,lib/libvkcome.so,lib/vkcome.dll}; do
		grep -qaF "$(commit)" "$file" || { echo "$file does not name its commit"; return 1; }
		for trace in "$work" "$root" "/root/" "$(go env GOMODCACHE)" "$(go env GOROOT)"; do
			! grep -qaF -- "$trace" "$file" || { echo "$file names $trace"; return 1; }
		done
	done
	# What is said to a user must be true: the oldest C library, in the manual.
	grep -o 'glibc 2\.[0-9]* or newer' "$work/report" | sort -u | while read -r needed; do
		grep -qF "$needed" cmd/vkcome/README.md || { echo "cmd/vkcome/README.md does not say $needed"; return 1; }
	done
}

# library compiles a program with the header and the library of the archive, and runs it.
library() {
	local from
	from=$(echo "$work"/unpacked/*-linux-amd64)
	cc -std=c99 -I"$from/include" cmd/libvkcome/examples/c/embed.c -L"$from/lib" -lvkcome -Wl,-rpath,"$from/lib" -o "$work/embed"
	mkdir "$work/embedded"
	"$work/embed" embedded:tiny12 testdata/golden/calib_tokens.json "$work/embedded"
	nm -D --defined-only "$from/lib/libvkcome.so" | awk '{ print $3 }' | grep -v '^vkcome_' && { echo "the library shows more than its interface"; return 1; }
	return 0
}

inside() { chroot "$work/debian" env -i PATH=/root/.local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root LC_ALL=C.UTF-8 TERM=dumb "$@"; }

# says TEXT: it is in what comes in. All is read, so that nothing is written to a pipe that is closed.
says() { grep -F -- "$1" >/dev/null; }

# refused COMMAND...: exit 1 and one line on stderr.
refused() {
	local code=0
	"$@" >"$work/out" 2>"$work/err" || code=$?
	[ $code = 1 ] && [ "$(wc -l <"$work/err")" = 1 ] && cat "$work/err" || { echo "exit $code, and:"; cat "$work/out" "$work/err"; return 1; }
}

bare() {
	debootstrap --variant=minbase bookworm "$work/debian" >"$work/debootstrap.log" 2>&1 ||
		{ tail "$work/debootstrap.log"; return 1; }
	mount --bind /proc "$work/debian/proc"
	mount --bind /dev "$work/debian/dev"
	tar -xzf "$work"/first/*-linux-amd64.tar.gz -C "$work/debian/opt"
	# What INSTALL.txt says is what is done.
	{ echo 'cd /opt/vkcome-*' && grep -o '^  install .*' "$work"/debian/opt/*/INSTALL.txt; } | inside sh -eux
	inside vkcome version | tee "$work/version"
	grep -q '^no devices: .*libvulkan1' "$work/version"
	refused inside vkcome demo
}

# served installs what a user installs beside the archive, and what reads its other files.
served() {
	inside env DEBIAN_FRONTEND=noninteractive sh -c 'apt-get -qq update && apt-get -qq install -y --no-install-recommends libvulkan1 mesa-vulkan-drivers bash-completion zsh fish mandoc' >"$work/apt.log" 2>&1 ||
		{ tail "$work/apt.log"; return 1; }
	inside vkcome version
	inside vkcome demo
	inside man -l /root/.local/share/man/man1/vkcome.1 | says 'vkcome-prune(1)'
	inside sh -c 'for page in /root/.local/share/man/man1/*.1; do mandoc -T lint -W warning "$page" || exit 1; done'
	inside man vkcome-eval-tasks | says --num-fewshot
	inside bash -c '. /usr/share/bash-completion/bash_completion; _completion_loader vkcome; complete -p vkcome' | says _vkcome
	[ "$(inside zsh -fc 'fpath=(/opt/vkcome-*/completions/zsh $fpath); autoload -U compinit; compinit -D -u; print $_comps[vkcome]')" = _vkcome ]
	inside fish -c 'complete -C "vkcome prune --selector sl"' | says sleb
}

# arm runs the program for arm64 with the C library of its cross compiler. qemu has no Vulkan device for it, which it must say.
arm() {
	local arm="qemu-aarch64-static -L /usr/aarch64-linux-gnu $(echo "$work"/unpacked/*-linux-arm64)/vkcome"
	$arm version | tee "$work/version"
	grep -q 'linux/arm64' "$work/version"
	grep -q '^no devices: ' "$work/version"
	[ "$($arm prune --help)" = "$(inside vkcome prune --help)" ]
	refused $arm demo
}

# windows runs the program of the zip by the Wine of make test-windows, on the drivers of this machine.
windows() {
	.ci/extra-drivers.sh wine10 .drivers/wine10
	local wine=.drivers/wine10/run program
	program=$(echo "$work"/unpacked/*-windows-amd64)/vkcome.exe
	"$wine" "$program" --version | tr -d '\r' | tee "$work/version"
	grep -q 'windows/amd64' "$work/version"
	"$wine" "$program" demo
}

# container builds the Containerfile upon the Debian of the chroot, in which nothing is installed yet: no registry is asked.
container() {
	tar -C "$work/debian" --one-file-system -cf "$work/base.tar" --exclude='./opt/*' --exclude=./root/.local .
	local store="--root $work/containers --runroot $work/containers-run --storage-driver vfs" from
	from=$(buildah $store from scratch)
	buildah $store add --quiet "$from" "$work/base.tar" / >/dev/null
	buildah $store commit --quiet "$from" localhost/debian-bare >/dev/null
	buildah $store rm "$from" >/dev/null
	buildah $store build --isolation chroot --network host --pull-never --from localhost/debian-bare -f .ci/dist/Containerfile -t vkcome "$work/first" >"$work/container.log" 2>&1 ||
		{ tail -30 "$work/container.log"; return 1; }
	from=$(buildah $store from --pull-never localhost/vkcome)
	buildah $store run --isolation chroot "$from" -- vkcome version
	buildah $store run --isolation chroot "$from" -- sh -c 'id -u; vkcome prune embedded:tiny12 /models/small -m reverse --target-layers 10 -q && ls /models/small/config.json'
	buildah $store rm "$from" >/dev/null
}

# A part is a process of its own: bash does not stop at an error within a function whose success is asked for.
if [ "${1:-}" = part ]; then
	work=$2
	"$3"
	exit
fi

work=$(mktemp -d)
chmod 755 "$work"
# --one-file-system: nothing is removed through a mount that could not be taken away.
trap 'umount "$work"/debian/{proc,dev} "$work/modules" 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT # what is not mounted any more is no failure
of() { part "$1" .ci/dist/test.sh part "$work" "$2"; }

of "dist" first
of "dist, elsewhere" second
of "the same bytes" compared
of "contents" unpacked
of "library" library
of "bare Debian 12" bare
of "container" container
of "with a driver, shells, man" served
of "linux/arm64 under qemu" arm
of "windows/amd64 under Wine" windows
finish
