#!/bin/sh
# Makes sure that this machine has what vkcome needs, installing only what is missing.
#
#   .ci/setup.sh tools     Go and a C compiler: says what to install
#   .ci/setup.sh device    a Vulkan loader, and a Vulkan device: where none answers, lavapipe, which runs on the CPU
#   .ci/setup.sh glslang   the shader compiler, for who changes shaders
#   .ci/setup.sh browser   chromium, for the tests of vkcome ui
#   .ci/setup.sh arm64     a C compiler for arm64 and qemu-user, for make test-arm64 (Debian and Ubuntu)
#   .ci/setup.sh test      a device and what the tests need: glslang, spirv-val, the validation layers
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
	[ -z "$missing" ] || install "${missing# }" "glslang spirv-tools vulkan-validation-layers" "glslang spirv-tools vulkan-validation-layers" \
		"glslang-devel spirv-tools vulkan-validationlayers" "glslang spirv-tools vulkan-validationlayers"
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

case ${1:-} in
tools) tools ;;
device) device ;;
test) device; tests; newer ;;
glslang) glslang; newer ;;
browser) browser ;;
arm64) arm64 ;;
*) echo "usage: .ci/setup.sh tools | device | test | glslang | browser | arm64" >&2; exit 2 ;;
esac
