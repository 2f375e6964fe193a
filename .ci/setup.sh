#!/bin/sh
# Makes sure that this machine has what vkcome needs, installing only what is missing.
#
#   .ci/setup.sh tools     Go and a C compiler: says what to install
#   .ci/setup.sh device    a Vulkan loader, and a Vulkan device: where none answers, lavapipe, which runs on the CPU
#   .ci/setup.sh glslang   the shader compiler, for who changes shaders
#   .ci/setup.sh browser   chromium, for the tests of vkcome ui
#   .ci/setup.sh pip       pip, for make test-manifests
#   .ci/setup.sh etcd      etcd, curl and openssl, for make test-kubernetes
#   .ci/setup.sh slurm     slurmctld, slurmd and munge, for make test-slurm (Debian and Ubuntu)
#   .ci/setup.sh bindings  what make test-lib runs: a C++ compiler, Python with pip, Node with npm, valgrind
#   .ci/setup.sh test      a device and what the tests need: glslang, spirv-val, the validation layers, shells and what reads manual pages
#   .ci/setup.sh dist      the C compilers of all systems that make dist builds for
#   .ci/setup.sh test-dist what make test-dist runs archives with: debootstrap, qemu, buildah, unzip, patchelf
#   .ci/setup.sh windows   a compiler for Windows and what .ci/extra-drivers.sh needs for Wine
#   .ci/setup.sh arm64     a C compiler for arm64 and qemu-user, for make test-arm64 (Debian and Ubuntu)
#
# On Debian and Ubuntu it installs with apt-get, as root or through sudo; elsewhere it says what to install.
set -eu
cd "$(dirname "$0")/.."

fail() { printf 'setup: %s\n' "$@" >&2; exit 1; }

# install PACKAGES FEDORA ARCH OPENSUSE MACOS: Debian's names, and what they are called elsewhere.
updated=
install() {
	if ! command -v apt-get >/dev/null 2>&1; then
		fail "missing here: $1 (Debian's names). Please install:" \
			"  Fedora     sudo dnf install $2" "  Arch       sudo pacman -S $3" "  openSUSE   sudo zypper install $4" "  macOS      brew install $5"
	fi
	apt="apt-get install -y --no-install-recommends $1"
	if [ "$(id -u)" = 0 ]; then
		as=
	elif command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
		as="sudo "
	else
		fail "missing here: $1. Please run as root, then again what you ran:" "  apt-get update && $apt"
	fi
	echo "setup: ${as}apt-get update && $as$apt" >&2
	wait="-o DPkg::Lock::Timeout=120"
	quiet="${as}env DEBIAN_FRONTEND=noninteractive"
	{ [ "$updated" ] || $quiet apt-get $wait -qq update; } </dev/null >/dev/null && $quiet $apt $wait -qq </dev/null >/dev/null ||
		fail "that did not work. vkcome needs: $1"
	updated=yes
}

tools() {
	command -v go >/dev/null 2>&1 || fail "no Go here: install Go 1.26 or newer from https://go.dev/dl (1.21 is enough where it may download 1.26 by itself)"
	case $(cd / && GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) in
	go1.[0-9] | go1.[0-9].* | go1.1[0-9] | go1.1[0-9].* | go1.20 | go1.20.* | "") fail "$(command -v go) is too old: install Go 1.26 or newer from https://go.dev/dl" ;;
	esac
	cc=$(go env CC)
	command -v "${cc%% *}" >/dev/null 2>&1 || fail "no C compiler ($cc) here: install gcc or clang (Debian and Ubuntu: apt-get install gcc libc6-dev)"
	[ "$(go env CGO_ENABLED)" = 1 ] || fail "CGO_ENABLED=0 is set, but vkcome calls Vulkan through cgo"
}

answers() { bin/vkcome devices --json >/dev/null 2>&1; }
loader() { { PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null || cat /etc/ld.so.cache 2>/dev/null; } | grep -q 'libvulkan\.so\.1'; }

device() {
	answers && return
	loader || install libvulkan1 vulkan-loader vulkan-icd-loader libvulkan1 "vulkan-loader molten-vk"
	answers && return
	if [ -n "${VK_ICD_FILENAMES:-}${VK_DRIVER_FILES:-}" ]; then
		fail "no Vulkan device answers, and VK_ICD_FILENAMES or VK_DRIVER_FILES chooses the driver: unset it or mend it"
	fi
	install mesa-vulkan-drivers mesa-vulkan-drivers vulkan-swrast "libvulkan_lvp" molten-vk
	answers || { bin/vkcome devices || true; fail "still no Vulkan device answers"; }
}

# layer looks where the loader looks for explicit layers.
layer() {
	for dir in $(echo "${VK_LAYER_PATH:-}" | tr : ' ') "${XDG_DATA_HOME:-$HOME/.local/share}/vulkan/explicit_layer.d" /etc/vulkan/explicit_layer.d \
		/usr/local/share/vulkan/explicit_layer.d /usr/share/vulkan/explicit_layer.d /opt/homebrew/share/vulkan/explicit_layer.d; do
		[ -e "$dir/VkLayer_khronos_validation.json" ] && return
	done
	return 1
}

# need COMMAND PACKAGE: notes what is missing.
missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }

glslang() {
	need glslangValidator glslang-tools
	need spirv-val spirv-tools
	[ -z "$missing" ] || install "${missing# }" "glslang spirv-tools" "glslang spirv-tools" "glslang-devel spirv-tools" "glslang spirv-tools"
}

# newer sees to the newer glslang that some shaders need, where apt-get can give it; elsewhere ./shaders/gen says what it does without.
newer() {
	case $(glslangValidator --version 2>/dev/null) in
	*:1[0-3].*) ;;
	*) return 0 ;;
	esac
	[ -e .drivers/glslang15/run ] || [ -e .drivers/mesa26/run ] && return
	command -v apt-get >/dev/null 2>&1 || return 0
	.ci/extra-drivers.sh glslang15 .drivers/glslang15 >&2 || echo "setup: no glslang 15 here: shaders with cooperative matrices cannot be compiled" >&2
}

tests() {
	need glslangValidator glslang-tools
	need spirv-val spirv-tools
	layer || missing="$missing vulkan-validationlayers"
	need zsh zsh
	need fish fish
	need man man-db
	need mandoc mandoc
	[ -z "$missing" ] || install "${missing# }" "glslang spirv-tools vulkan-validation-layers zsh fish man-db mandoc" \
		"glslang spirv-tools vulkan-validation-layers zsh fish man-db mandoc" \
		"glslang-devel spirv-tools vulkan-validationlayers zsh fish man mandoc" "glslang spirv-tools vulkan-validationlayers zsh fish man-db mandoc"
}

# debian installs what dist needs, of which the names and the contents are Debian's alone.
debian() {
	[ -z "$missing" ] && return
	command -v apt-get >/dev/null 2>&1 && [ "$(uname -m)" = x86_64 ] || fail "the archives are built on Debian on x86-64, for whose C library and compilers they are made"
	install "${missing# }" "" "" "" ""
}

dist() {
	need x86_64-linux-gnu-gcc "gcc libc6-dev"
	need aarch64-linux-gnu-gcc "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
	need x86_64-w64-mingw32-gcc-win32 gcc-mingw-w64-x86-64-win32
	debian
}

dist_tests() {
	need debootstrap debootstrap
	need qemu-aarch64-static qemu-user-static
	need buildah buildah
	need unzip unzip
	need patchelf patchelf # of Wine's setup
	debian
}

arm64() {
	need aarch64-linux-gnu-gcc "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
	need qemu-aarch64-static qemu-user-static
	[ -z "$missing" ] || install "${missing# }" "gcc-aarch64-linux-gnu qemu-user-static" "aarch64-linux-gnu-gcc qemu-user-static" "cross-aarch64-gcc12 qemu-linux-user" "(a machine with Linux)"
}

browser() {
	for name in chromium chromium-browser google-chrome; do
		command -v "$name" >/dev/null 2>&1 && return
	done
	install chromium chromium chromium chromium "--cask chromium"
}

pip() {
	python3 -m pip --version >/dev/null 2>&1 || install python3-pip python3-pip python-pip python3-pip python3
}

etcd() {
	need etcd etcd-server
	need curl curl
	need openssl openssl
	[ -z "$missing" ] || install "${missing# }" "etcd curl openssl" "etcd curl openssl" "etcd curl openssl" "etcd curl openssl"
}

slurm() {
	need slurmctld slurmctld
	need slurmd slurmd
	need sbatch slurm-client
	need munged munge
	[ -z "$missing" ] || install "${missing# }" "slurm-slurmctld slurm-slurmd munge" "slurm-llnl munge" "slurm slurm-node munge" "(Slurm is not for macOS)"
}

# bindings takes the system's Python, for which Debian has setuptools and wheel, whatever other one comes first in PATH.
bindings() {
	python=/usr/bin/python3
	[ -x $python ] || python=python3
	need c++ g++
	need node nodejs
	need npm npm
	need valgrind valgrind
	$python -c 'import ensurepip, pip, setuptools, venv, wheel' 2>/dev/null || missing="$missing python3 python3-pip python3-setuptools python3-venv python3-wheel"
	[ -z "$missing" ] || install "${missing# }" "gcc-c++ nodejs npm valgrind python3 python3-pip python3-setuptools python3-wheel" \
		"gcc nodejs npm valgrind python python-pip python-setuptools python-wheel" "gcc-c++ nodejs npm valgrind python3 python3-pip python3-setuptools python3-wheel" \
		"node python"
}

windows() {
	need x86_64-w64-mingw32-gcc gcc-mingw-w64-x86-64
	need patchelf patchelf
	[ -z "$missing" ] || install "${missing# }" "mingw64-gcc patchelf" "mingw-w64-gcc patchelf" "mingw64-cross-gcc patchelf" "mingw-w64 patchelf"
}

case ${1:-} in
slurm) slurm ;;
pip) pip ;;
etcd) etcd ;;
tools) tools ;;
device) device ;;
test) device; tests; newer ;;
glslang) glslang; newer ;;
browser) browser ;;
bindings) bindings ;;
dist) dist ;;
test-dist) dist; dist_tests ;;
windows) windows ;;
arm64) arm64 ;;
*) echo "usage: $0 $(sed -n 's|^#   .ci/setup.sh \([a-z0-9-]*\) .*|\1|p' "$0" | paste -sd"|")" >&2; exit 2 ;;
esac
