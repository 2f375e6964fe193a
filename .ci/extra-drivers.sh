#!/usr/bin/env bash
# Unpacks extra Vulkan drivers beside the system's, for cross-driver tests. Nothing is installed, the system is untouched.
#
#   .ci/extra-drivers.sh swiftshader DIR   SwiftShader (subgroup 4, no 16-bit storage): correctness on a second vendor. 113 MB download, 5.4 MB kept.
#   .ci/extra-drivers.sh mesa26 DIR        lavapipe 26 with VK_KHR_cooperative_matrix, glslang 15, newer spirv-tools and validation layers, and Mesa's
#                                          drivers for GPUs that are not here. 73 MB download, 380 MB unpacked.
#   .ci/extra-drivers.sh intel DIR         Intel's shim for mesa26's DIR, which Debian's packages lack: 19 files of Mesa's source, compiled here with gcc.
#                                          47 MB download, 0.3 MB kept.
#   .ci/extra-drivers.sh glslang15 DIR     of these only glslang 15 and spirv-tools, which shaders with cooperative matrices need.
#   .ci/extra-drivers.sh wine10 DIR        Wine 10, which runs programs for Windows. 115 MB download, 1.6 GB unpacked.
#
# Then:  . DIR/env; go test ./...     programs that Go builds in that shell, and those that these start, run on the driver
#        DIR/run CMD                  (mesa26, glslang15) any other program: these need their own, newer C library
#        DIR/gpu amd:navi31 CMD       (mesa26) a program on a GPU that is not there: its driver compiles for it, and runs nothing. Also nv:172 (the
#                                     chip in hexadecimal), fd:740, apple, and intel:bmg after intel DIR, see .ci/gpu
#        DIR/run CMD.exe              (wine10) a program for Windows, on the system's Vulkan drivers or those of VK_ICD_FILENAMES; needs no display
# Debian 12 and its derivatives on x86-64; packages come from the mirror that apt is already set up with.
set -euo pipefail
kind=${1:?swiftshader, mesa26, intel, glslang15 or wine10}
dir=$(realpath -m "${2:?target folder}")
say() { echo "extra-drivers: $*" >&2; exit 1; }
case $dir in *[[:space:]]*) say "$dir: the path must not hold spaces" ;; esac
command -v apt-get >/dev/null && [ "$(uname -m)" = x86_64 ] || say "this needs Debian on x86-64; elsewhere set VK_ICD_FILENAMES to a driver of your own"
mkdir -p "$dir"

# trixie sets opt to the options with which apt knows the packages of Debian 13, which are newer, and keeps what it does in $dir. types is deb, and deb-src
# for sources.
types=deb
trixie() {
	local mirror suite type
	mirror=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' | awk '$2 == "main" && $1 !~ /security/ { print $1; exit }')
	[ -n "$mirror" ] || say "apt has no lists: run apt-get update"
	rm -rf "$dir/root"
	mkdir -p "$dir"/{etc,state/lists/partial,cache/archives/partial,root}
	: >"$dir/state/status"
	for suite in "$@"; do
		for type in $types; do
			echo "$type [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
		done
	done >"$dir/etc/sources.list"
	opt=(-o Dir::Etc::sourcelist="$dir/etc/sources.list" -o Dir::Etc::sourceparts=/nonexistent -o Dir::State="$dir/state"
		-o Dir::Cache="$dir/cache" -o Dir::State::status="$dir/state/status" -o APT::Sandbox::User=root)
	apt-get "${opt[@]}" -qq update
}

case $kind in
swiftshader)
	if [ ! -e "$dir/env" ]; then
		tmp=$(mktemp -d)
		trap 'rm -rf "$tmp"' EXIT
		(cd "$tmp" && apt-get download -qq -o APT::Sandbox::User=root chromium-common) || say "no package chromium-common: run apt-get update; on Ubuntu there is none"
		dpkg --fsys-tarfile "$tmp"/*.deb | tar -x -C "$dir" --strip-components=4 --wildcards './usr/lib/chromium/libvk_swiftshader.so' './usr/lib/chromium/vk_swiftshader_icd.json'
		echo "export VK_ICD_FILENAMES=$dir/vk_swiftshader_icd.json" >"$dir/env"
	fi
	;;
mesa26 | glslang15)
	packages="glslang-tools spirv-tools libc6 libstdc++6"
	made=$dir/run
	if [ "$kind" = mesa26 ]; then
		packages="mesa-vulkan-drivers/trixie-backports mesa-drm-shim/trixie-backports libvulkan1 vulkan-tools vulkan-validationlayers $packages"
		made=$dir/env
	fi
	root="$dir/root"
	lib="$root/usr/lib/x86_64-linux-gnu"
	if [ ! -e "$made" ]; then
		trixie trixie trixie-backports
		mkdir -p "$dir/layers"
		apt-get "${opt[@]}" -qq install -y --no-install-recommends --download-only $packages >/dev/null
		for d in "$dir"/cache/archives/*.deb; do dpkg -x "$d" "$root"; done
		rm -rf "$dir"/cache "$dir"/state
		cat >"$dir/run" <<-EOF
			#!/bin/sh
			export VK_ICD_FILENAMES=\${VK_ICD_FILENAMES:-$dir/lvp.json} VK_LAYER_PATH=$dir/layers
			exec $lib/ld-linux-x86-64.so.2 --library-path $lib "\$@"
		EOF
		chmod +x "$dir/run"
		if [ "$kind" = mesa26 ]; then
			echo "{\"file_format_version\":\"1.0.1\",\"ICD\":{\"api_version\":\"1.4.0\",\"library_path\":\"$lib/libvulkan_lvp.so\"}}" >"$dir/lvp.json"
			sed "s#\"library_path\": *\"[^\"]*libVk#\"library_path\": \"$lib/libVk#" \
				"$root/usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json" >"$dir/layers/VkLayer_khronos_validation.json"
			for d in radeon nouveau freedreno asahi intel; do
				echo "{\"file_format_version\":\"1.0.1\",\"ICD\":{\"api_version\":\"1.4.0\",\"library_path\":\"$lib/libvulkan_$d.so\"}}" >"$dir/$d.json"
			done
			cat >"$dir/gpu" <<-EOF
				#!/bin/sh
				kind=\${1%%:*} name=\${1#*:}
				shift
				case \$kind in
				amd) shim=amdgpu driver=radeon && export AMDGPU_GPU_ID=\$name ;;
				nv) shim=nouveau driver=nouveau && export NOUVEAU_CHIPSET=\$name ;;
				fd) shim=freedreno driver=freedreno && export FD_GPU_ID=\$name ;;
				apple) shim=asahi driver=asahi ;;
				intel) shim=intel driver=intel && export INTEL_STUB_GPU_PLATFORM=\$name ;;
				*) echo "\$kind: expected amd, nv, fd, apple or intel" >&2 && exit 2 ;;
				esac
				export VK_ICD_FILENAMES=$dir/\$driver.json VK_LOADER_LAYERS_DISABLE=all
				exec $lib/ld-linux-x86-64.so.2 --library-path $lib --preload $lib/lib\${shim}_noop_drm_shim.so "\$@"
			EOF
			chmod +x "$dir/gpu"
			# Old-style RPATH, unlike LD_LIBRARY_PATH, reaches the driver's own libraries and does not reach other programs.
			cat >"$dir/env" <<-EOF
				export VK_ICD_FILENAMES=$dir/lvp.json VK_LAYER_PATH=$dir/layers
				export GOFLAGS="\${GOFLAGS:-\$(go env GOFLAGS)} -ldflags=-extldflags=-Wl,--dynamic-linker=$lib/ld-linux-x86-64.so.2,--disable-new-dtags,-rpath,$lib"
			EOF
		fi
	fi
	if [ "$kind" = glslang15 ]; then
		"$dir/run" "$root/usr/bin/glslangValidator" --version | head -n 1
		exit
	fi
	"$dir/run" "$root/usr/bin/vulkaninfo" --summary 2>/dev/null | grep -E 'deviceName|driverInfo'
	;;
intel)
	lib="$dir/root/usr/lib/x86_64-linux-gnu"
	shim="$lib/libintel_noop_drm_shim.so"
	[ -x "$dir/gpu" ] || say "$dir has no drivers: .ci/extra-drivers.sh mesa26 $dir"
	if [ ! -e "$shim" ]; then
		for program in gcc python3 xz; do
			command -v $program >/dev/null || say "no $program here: apt-get install gcc libc6-dev python3 xz-utils"
		done
		target=$shim dir=$(mktemp -d)
		trap 'rm -rf "$dir"' EXIT
		types="deb deb-src" trixie trixie # backports' source is not on every mirror
		cd "$dir"
		apt-get "${opt[@]}" -qq source --download-only mesa/trixie
		apt-get "${opt[@]}" -qq download libdrm-dev python3-mako python3-markupsafe
		for d in ./*.deb; do dpkg -x "$d" root; done
		tar -xJf mesa_*.orig.tar.xz --strip-components=1 --wildcards '*/include' '*/src/c11' '*/src/compiler/*.h' '*/src/drm-shim' '*/src/intel' '*/src/util'
		mkdir -p made/dev
		export PYTHONPATH="$dir/root/usr/lib/python3/dist-packages" PYTHONDONTWRITEBYTECODE=1
		python3 src/intel/dev/gen_wa_helpers.py src/intel/dev/mesa_defs.json made/dev/intel_wa.h made/dev/intel_wa.c
		python3 src/intel/dev/intel_device_info_gen_h.py made/dev/intel_device_info_gen.h
		python3 src/intel/dev/intel_device_info_serialize_gen_c.py made/dev/intel_device_info_serialize_gen.c
		ln -s . made/intel # files include these as dev/…, as intel/dev/… and by name
		# Of what the files refer to, --gc-sections leaves out what the shim never calls, and with it all other libraries but the C library.
		gcc -shared -fPIC -O1 -s -std=c11 -fvisibility=hidden -ffunction-sections -fdata-sections -Wl,--gc-sections,--as-needed,-z,defs -o shim.so \
			-D_GNU_SOURCE -DNDEBUG -DHAVE_PTHREAD -DHAVE_ENDIAN_H -DHAVE_LINUX_FUTEX_H -DHAVE_STRUCT_TIMESPEC -DHAVE_SECURE_GETENV -DHAVE_MEMFD_CREATE -DHAVE_PROGRAM_INVOCATION_NAME \
			-Imade -Imade/dev -Iinclude -Isrc -Isrc/intel -Isrc/intel/dev -Iroot/usr/include -Iroot/usr/include/libdrm -w \
			src/intel/tools/intel_noop_drm_shim.c src/drm-shim/{device,drm_shim}.c src/intel/dev/{,i915/}intel_device_info.c src/intel/dev/intel_kmd.c \
			made/dev/intel_{wa,device_info_serialize_gen}.c src/util/{parson,hash_table,set,ralloc,vma,anon_file,u_debug,os_misc,log,futex,u_process}.c
		cp shim.so "$target"
	fi
	"${lib%/root/*}/gpu" intel:bmg "$lib/../../bin/vulkaninfo" --summary 2>/dev/null | grep -E 'deviceName|driverInfo'
	exit
	;;
wine10)
	lib="$dir/root/usr/lib/x86_64-linux-gnu"
	wine="$dir/root/usr/lib/wine"
	if [ ! -e "$dir/run" ]; then
		command -v patchelf >/dev/null || say "no patchelf here: apt-get install patchelf"
		trixie trixie
		# Of what Wine can use, only what a program without windows and sound does. The rest of its libraries are the system's.
		(cd "$dir/cache/archives" && apt-get "${opt[@]}" -qq download wine64 libwine libz-mingw-w64 libc6)
		for d in "$dir"/cache/archives/*.deb; do dpkg -x "$d" "$dir/root"; done
		rm -rf "$dir"/cache "$dir"/state "$dir"/root/usr/share/{doc,man} "$dir"/root/usr/i686-w64-mingw32 "$dir"/root/usr/x86_64-w64-mingw32ucrt
		for program in wine64 wineserver64; do # Wine starts itself and its server again: they find the newer C library by themselves
			patchelf --set-interpreter "$lib/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$lib" "$wine/$program"
		done
		mv "$wine/wineserver64" "$wine/wineserver" # in the place of a script with paths of the system
		mkdir -p "$dir/root/usr/share/wine/wine"
		ln -sfn ../nls "$dir/root/usr/share/wine/wine/nls" # where the server looks
		mkdir -p "$dir/prefix/drive_c/windows/system32"
		cp "$dir/root/usr/x86_64-w64-mingw32/lib/zlib1.dll" "$dir/prefix/drive_c/windows/system32"
		cat >"$dir/wine" <<-EOF
			#!/bin/sh
			unset DISPLAY WAYLAND_DISPLAY
			export WINEPREFIX=\${WINEPREFIX:-$dir/prefix} WINELOADER=$wine/wine64 WINEDEBUG=\${WINEDEBUG:--all}
			export WINEDLLOVERRIDES="mscoree=;mshtml=;winemenubuilder.exe=" XDG_RUNTIME_DIR=\${XDG_RUNTIME_DIR:-/tmp}
			exec $wine/wine64 "\$@"
		EOF
		chmod +x "$dir/wine"
		"$dir/wine" wineboot -i >/dev/null 2>&1 || say "Wine does not begin: WINEDEBUG= $dir/wine wineboot -i"
		mv "$dir/wine" "$dir/run"
	fi
	"$dir/run" --version
	exit
	;;
*) echo "unknown driver $kind: swiftshader, mesa26, intel, glslang15 or wine10" >&2; exit 2 ;;
esac
echo "$kind: . $dir/env"
