#!/usr/bin/env bash
# What can be checked of vkcome for macOS on Apple silicon without Apple's SDK: packages that need no C are compiled and vetted; the types of all
# packages and tests are checked; and the C is held to POSIX, which macOS has. Nothing is linked, and nothing runs.
set -euo pipefail
cd "$(dirname "$0")/.."
export GOOS=darwin GOARCH=arm64
plain=$(CGO_ENABLED=1 go list -f '{{.ImportPath}} {{join .Deps " "}}' ./... | grep -v vulkan-go/vulkan | cut -d' ' -f1)
CGO_ENABLED=0 go build $plain
CGO_ENABLED=0 go vet $plain
echo "compiled and vetted: $(wc -w <<<"$plain") packages"
env -u GOOS -u GOARCH go run ./.ci/typecheck darwin/arm64
cc -std=c11 -D_POSIX_C_SOURCE=200809L -Wall -Werror -fsyntax-only vk/internal/native/*.c
echo "the C of vk/internal/native has POSIX alone"
