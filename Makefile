# vkcome. `make help` lists the targets.
.DEFAULT_GOAL := demo
.PHONY: demo build check test test-ui test-hostile test-big test-drivers test-arm64 vet-darwin gpu-report shaders check-shaders licenses fuzz vulncheck bench quality clean help

FUZZTIME ?= 10s
QUALITY_DATA ?= ../shared
QUALITY_MODEL ?=
QUALITY_FLAGS ?=

demo: build ## prune the embedded model 12 → 8 layers; installs a Vulkan loader and driver where there is none
	@.ci/setup.sh device
	bin/vkcome demo

build: ## bin/vkcome
	@.ci/setup.sh tools
	go build -o bin/vkcome ./cmd/vkcome

check: ## before a commit: gofmt, vet, staticcheck, licences, and the tests but for the slow ones that .ci/check.sh names
	@.ci/setup.sh tools
	@.ci/check.sh

test: build ## every check on the system's Vulkan devices; installs what they need
	@.ci/setup.sh test
	@.ci/test.sh

test-ui: build ## vkcome ui in Debian's chromium, from the first start to the chat; VKCOME_SCREENS names a folder for screenshots
	@.ci/setup.sh device
	@.ci/setup.sh browser
	go test -tags ui -count=1 -timeout 5m -run "TestBrowser|TestStrangers" ./cmd/vkcome/internal/ui

test-big: ## what takes gigabytes or many minutes: a model of 3 GB, a layer of a 7B model, all of MMLU, a thousand devices opened and closed
	go test -tags big -count=1 -timeout 120m -v -run "3GB|MemoryLarge|SolveLargest|TestGolden$$|TestCycles" ./cmd/vkcome ./cmd/examples/embed ./prune/distill ./model/eval ./model/lsq

test-hostile: ## every hostile input, more than a thousand; every Vulkan call and every step of writing fails once; 240 kills: hours. make test has a sample
	@.ci/setup.sh test
	VKCOME_HOSTILE=all go test -count=1 -timeout 60m ./cmd/vkcome/internal/hostile
	VKCOME_HOSTILE=all go test -count=1 -timeout 240m -run "Faults$$|TestKill" ./cmd/vkcome

test-drivers: build ## the tests on SwiftShader and Mesa 26, downloaded into .drivers (Debian on x86-64)
	@.ci/setup.sh test
	@.ci/drivers.sh

test-arm64: build ## vkcome for arm64 Linux under qemu-user: tests without a device, and a run on lavapipe for arm64 (Debian on another architecture)
	@.ci/setup.sh arm64
	@.ci/arm64.sh
	@.ci/arm64.sh device

vet-darwin: ## compile and vet for macOS on Apple silicon what needs no C, and check the types of the rest
	@.ci/darwin.sh

gpu-report: ## what the compilers of ten GPUs make of the kernels, into .ci/gpu (Debian on x86-64; the GPUs need not be here)
	@.ci/setup.sh tools
	@.ci/extra-drivers.sh mesa26 .drivers/mesa26 >/dev/null
	go run ./.ci/gpu

shaders: ## compile the GLSL into the committed SPIR-V
	@.ci/setup.sh glslang
	go run ./shaders/gen

check-shaders: ## compare the committed SPIR-V with the GLSL
	@.ci/setup.sh glslang
	go run ./shaders/gen -check

licenses: ## write the notices of vkcome version --licenses again, after a change of dependencies
	go run ./cmd/vkcome/internal/licenses/gen

fuzz: ## run every fuzz target for FUZZTIME (10s)
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's/:func / /' | while read -r file target; do \
		echo "== $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 200x "$$(dirname "$$file")" || exit 1; done

vulncheck: ## known vulnerabilities in what is linked, by a snapshot of Go's database that is a Go module itself
	@.ci/vulncheck.sh

bench: ## Go benchmarks
	go test -run '^$$' -bench . -benchmem ./...

quality: build ## a table of methods, refit and healing on SmolLM2-135M-Instruct; hours, and it goes on where it was stopped. QUALITY_FLAGS=-help
	@.ci/setup.sh device
	go run ./.ci/quality -data "$(QUALITY_DATA)" -model "$(QUALITY_MODEL)" $(QUALITY_FLAGS)

clean: ## remove bin; downloaded drivers stay in .drivers, and measurements in .quality
	rm -rf bin

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r t d; do printf '%-16s %s\n' "$$t" "$$d"; done
