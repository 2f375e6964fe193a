# vkcome. `make help` lists the targets.
.DEFAULT_GOAL := demo
.PHONY: $(shell sed -n 's/^\([a-z0-9-]*\):.*/\1/p' Makefile)

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

# For another system: make lib GOOS=windows CC=x86_64-w64-mingw32-gcc LIB=bin/vkcome.dll LIB_LINK=
LIB ?= bin/libvkcome.so
LIB_LINK ?= -Wl,-soname,libvkcome.so.1 -Wl,--version-script=$(CURDIR)/cmd/libvkcome/exports.map

lib: ## bin/libvkcome.so and bin/vkcome.h: the library for C, Python, Node and others; LIB names another file
	@.ci/setup.sh tools
	CGO_ENABLED=1 go build -buildmode=c-shared -ldflags '-extldflags "$(LIB_LINK)"' -o $(LIB) ./cmd/libvkcome
	@rm -f $(basename $(LIB)).h && cp cmd/libvkcome/vkcome.h $(dir $(LIB))
	@case $(LIB) in *.so) ln -sf $(notdir $(LIB)) $(LIB).1 ;; esac

test-lib: build lib ## the library from C, Python and Node; wrong use, a thousand devices opened and closed under valgrind
	@.ci/setup.sh device
	@.ci/setup.sh bindings
	go test -race -count=1 -run "TestHandles|TestCalls|TestGenerate|TestManyThreads" ./cmd/libvkcome/internal/abi
	go test -tags lib -count=1 -timeout 60m ./cmd/libvkcome/...

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

test-windows: build ## vkcome for Windows, built with mingw-w64 and run under Wine 10, downloaded into .drivers (Debian on x86-64); VKCOME_QUICK=1 for the short part
	@.ci/setup.sh device
	@.ci/windows.sh $(if $(VKCOME_QUICK),quick)

test-big: ## what takes gigabytes or many minutes: a model of 3 GB, a layer of a 7B model, all of MMLU, a thousand devices opened and closed
	go test -tags big -count=1 -timeout 120m -v -run "3GB|MemoryLarge|SolveLargest|TestGolden$$|TestMethodsGolden|TestCycles" ./cmd/vkcome ./cmd/examples/embed ./prune ./prune/distill ./model/eval ./model/lsq

test-hostile: ## every hostile input, more than a thousand; every Vulkan call and every step of writing fails once; 240 kills: hours. make test has a sample
	@.ci/setup.sh test
	VKCOME_HOSTILE=all go test -count=1 -timeout 60m ./cmd/vkcome/internal/hostile
	VKCOME_HOSTILE=all go test -count=1 -timeout 240m -run "Faults$$|TestKill" ./cmd/vkcome

test-drivers: build ## the tests on SwiftShader and Mesa 26, downloaded into .drivers (Debian on x86-64), and the operations under every profile
	@.ci/setup.sh test
	@.ci/drivers.sh

test-slurm: build ## the scripts of cmd/vkcome/clusters/slurm on a Slurm of this machine, which it installs (Debian); a node is killed, the bytes are compared
	@.ci/setup.sh device
	@.ci/slurm.sh

test-manifests: ## the manifests of cmd/vkcome/clusters/kubernetes against the API's schemas
	@.ci/manifests.sh

test-kubernetes: build ## the same manifests on Kubernetes' API server and controller of jobs, compiled here: ten minutes of a processor the first time
	@.ci/setup.sh device
	@.ci/kubernetes.sh

dist: ## the archives of a release, of the commit that is checked out, into bin/dist: the same bytes wherever they are built (Debian on x86-64)
	@.ci/setup.sh tools
	@.ci/setup.sh dist
	go run ./.ci/dist

test-dist: build ## build the archives twice, compare, and run them in a bare Debian 12, in a container, under qemu and under Wine; needs root
	@.ci/setup.sh tools
	@.ci/setup.sh test-dist
	@.ci/setup.sh device
	@.ci/dist/test.sh

test-arm64: build ## vkcome for arm64 Linux under qemu-user: tests without a device, and a run on lavapipe for arm64 (Debian on another architecture)
	@.ci/setup.sh arm64
	@.ci/arm64.sh
	@.ci/arm64.sh device

vet-darwin: ## compile and vet for macOS on Apple silicon what needs no C, and check the types of the rest
	@.ci/darwin.sh

gpu-report: ## what the compilers of ten GPUs make of the kernels, into .ci/gpu (Debian on x86-64; the GPUs need not be here)
	@.ci/setup.sh tools
	@.ci/extra-drivers.sh mesa26 .drivers/mesa26 >/dev/null
	@.ci/extra-drivers.sh intel .drivers/mesa26 >/dev/null
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
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r t d; do printf '%-16s %s\n' "$$t" "$$d"; done
