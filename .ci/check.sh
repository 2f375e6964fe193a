#!/usr/bin/env bash
# The fast tier: what `make check` runs before a commit. It is `make test` without validation, dead code, the shaders, the demo, the runner of
# `make quality`, and the tests named below.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/parts.sh

# The tests that are left out, by a regular expression of their names, each with what makes it slow. What matches no test is an error, so
# that the list stays true.
slow='
TestPruneGolden                        cmd/vkcome: eight runs of prune against PyTorch
TestCardCommands                       cmd/vkcome: eleven runs, and again what their cards say
TestKLDGolden                          cmd/vkcome: a golden of the binary
TestKill                               cmd/vkcome: kills runs at 20 moments
TestKillTraining                       cmd/vkcome: the same while layers are trained
TestVulkanFaults                       cmd/vkcome: hundreds of runs, a call of each fails
TestWriteFaults                        cmd/vkcome: hundreds of runs, a step of writing of each fails
TestRefitShards                        cmd/vkcome: three processes that share a fit, killed and started again
TestRefittingShards(Stopped)?          prune: the same in one process
TestTasksKilled                        cmd/vkcome: the same of eval tasks
TestResume                             cmd/vkcome: resumes runs of several methods
TestStats                              cmd/vkcome: several processes and methods
TestSeveralDevices                     cmd/vkcome: several methods, three times each
TestLimitedMemory                      cmd/vkcome: prunes in a memory cgroup
TestGoldenCoMe                         model/ref: CoMe in float64
TestGoldenPerplexity                   model/ref: 128 windows in float64
TestGoldenScores                       model/ref: 64 windows in float64
TestGolden                             model/eval: every task against lm-eval
TestResultsDoNotDependOnBatch          model/eval: every task at several batch sizes
TestGradientsArchitectures             model: slopes in float64 for every architecture
TestScorerMemory                       model: many limits of memory
TestCheckpoint                         prune/score: stops everywhere
TestTaylor                             prune/score: gradients of a model in float64
TestDevicesLosses                      prune/score: losses shared by devices
TestMethodsGolden                      prune: every method against PyTorch
Test(Heal|Distill)Tiny                 prune: trains the embedded model
Test(HealResume|DistillWhilePruning)   prune: stops training everywhere
TestDistillResume                      prune: the same of distill
Test(Heal|Distill)Equal                prune: trains with every loss
TestArchitectures                      prune/merge: every architecture in float64
TestLastTokens                         model: every architecture, to the bit
TestAttentionBackward                  model/op: every kernel, many shapes
TestLinearFused                        model/op: every kernel, many shapes
TestTrainingOfTeacher                  model/train: every loss on several models
TestLayerGradients                     model/train: slopes in float64
TestModelGradients                     model/train: slopes in float64
TestPredictTraining                    model/train: many sizes
TestAttention                          model/op: every kernel, many shapes
TestAttentionPacked                    model/op: every kernel, many shapes
TestAttentionBackwardPieces            model/op: every kernel, to the bit
TestLayerNormBackward                  model/op: finite differences
TestRMSNormBackward                    model/op: finite differences
TestLongPieces                         model/tokenizer: a megabyte without a space
TestTasksOutput                        cmd/vkcome: every task, several times
TestReport                             cmd/vkcome: a run of each verb that writes a page
TestWeightsStream                      model: streams under many limits
TestLinearFusedBatchAndSplit           model/op: every kernel, to the bit
TestSelectStops                        prune/score: stops at every candidate
TestAllScores                          prune: every method, scored in full
TestFirstToLast                        cmd/vkcome/internal/ui: a run, measured and exported
TestTour                               cmd/examples/embed: the program, which loses a device at three moments
TestStopResume                         cmd/vkcome/internal/ui: a run, stopped twice
TestResumeEveryMethod                  prune: every method, stopped and resumed
'

unit() {
	local names name
	names=$(awk 'NF { print $1 }' <<<"$slow")
	for name in $names; do
		grep -rqE "^func $name\(" --include='*_test.go' . || { echo "check: .ci/check.sh leaves out $name, and there is no such test"; return 1; }
	done
	go test -skip "^($(paste -sd'|' <<<"$names"))\$" ./...
}

part "gofmt" formatted
part "go vet" go vet ./...
part "staticcheck" go tool staticcheck ./...
part "limits of size, unused exports" go run ./.ci/limits
part "imports point one way" go run ./.ci/arrows
part "what embedding programs are promised" go run ./.ci/api
part "licences allow MIT" go run ./cmd/vkcome/internal/licenses/gen -check
part "go test, but for the slow ones" unit
finish
