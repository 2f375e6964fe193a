#!/usr/bin/env bash
# What `make test-kubernetes` runs: the manifests of cmd/vkcome/clusters/kubernetes on a real API server, which the Go module proxy has as source, with
# etcd and the controller of jobs; .ci/clusters stands in for the nodes. Names, sizes and the model become those of a test. A pod loses its node, a
# job with a wrong option fails at once, and what comes of all jobs is compared, to the byte, with what one process makes.
#
# The first time it compiles the server: ten minutes of a processor.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
.ci/setup.sh etcd
(cd .ci/clusters && go build -o "$root/bin/" k8s.io/kubernetes/cmd/kube-apiserver . && mv "$root/bin/clusters" "$root/bin/test-clusters")
dir=$(mktemp -d)
cd "$dir"
stop() {
	trap - EXIT
	kill $(jobs -p) 2>/dev/null || true
	wait || true
	rm -rf "$dir"
}
trap 'code=$?; stop; exit $code' EXIT
trap 'exit 130' INT TERM
export LP_NUM_THREADS=1
unset VKCOME_DEVICE

port=$((30000 + RANDOM % 10000))
etcd --data-dir etcd --listen-client-urls "http://127.0.0.1:$port" --advertise-client-urls "http://127.0.0.1:$port" --listen-peer-urls "http://127.0.0.1:$((port + 1))" \
	--initial-advertise-peer-urls "http://127.0.0.1:$((port + 1))" --initial-cluster "default=http://127.0.0.1:$((port + 1))" >etcd.log 2>&1 &
openssl genrsa -out accounts.key 2048 2>/dev/null
token=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
(umask 077 && echo "$token,test,test,system:masters" >tokens)
"$root/bin/kube-apiserver" --etcd-servers "http://127.0.0.1:$port" --bind-address 127.0.0.1 --secure-port $((port + 2)) --cert-dir certs --token-auth-file tokens \
	--service-account-key-file accounts.key --service-account-signing-key-file accounts.key --service-account-issuer https://localhost --service-cluster-ip-range 10.96.0.0/24 \
	--disable-admission-plugins ServiceAccount --authorization-mode RBAC >server.log 2>&1 &
server=https://127.0.0.1:$((port + 2))
for ((i = 0; ; i++)); do
	[ "$(curl -sk -H "Authorization: Bearer $token" "$server/readyz")" != ok ] || break
	[ $i -lt 240 ] || { tail -n 20 server.log etcd.log >&2; echo "the API server does not answer" >&2; exit 1; }
	sleep 0.5
done

# of makes of a manifest that of a small model in three parts.
of() { sed -E 's|/models/Llama-2-7b-hf|embedded:tiny12|; s|--target-layers=24|--target-layers=8|; s|--text=/texts/.*|--tokens=/texts/tokens.json|; s|--samples=256|--samples=24|; s|(completions\|parallelism): 8|\1: 3|; s|--shard=/8|--shard=/3|; /(scores|healed)-[3-7]/d; s|Llama-2-7b-24|out|' "$root/cmd/vkcome/clusters/kubernetes/$1.yaml"; }
mkdir -p volumes/{models,texts,work} jobs
cp "$root/testdata/golden/calib_tokens.json" volumes/texts/tokens.json
for step in volumes score prune refit heal merge; do of $step >jobs/$step.yaml; done
sed -i 's|--seed=1|--seed=1\n            - --budget-tokens=16384\n            - --batch=4\n            - --window=64|' jobs/heal.yaml
sed -e 's|name: vkcome-score|name: vkcome-wrong|; s|--samples=24|--samples=2|; s|--resume|--window=128|' jobs/score.yaml >jobs/wrong.yaml # three parts of two windows
run() { "$root/bin/test-clusters" -server "$server" -token "$token" -volumes volumes -vkcome "$root/bin/vkcome" "$@"; }

sed 's/capabilities:/capability:/' jobs/score.yaml >jobs/misspelt.yaml
if run jobs/misspelt.yaml >said 2>&1 || ! grep -q 'unknown field .*spec.template.spec.containers\[0\].securityContext.capability' said; then cat said >&2; exit 1; fi
run jobs/volumes.yaml
if run jobs/wrong.yaml >said 2>&1; then cat said; echo "a job with a wrong option passed" >&2; exit 1; fi
grep "vkcome-wrong: Failed" said | head -1
grep -q "vkcome-wrong: Failed FailedIndexes, 0 pods succeeded (), 3 failed (0-2)" said || { cat said >&2; exit 1; }
run -once vkcome-refit-1- -when 'work/.fitted.vkcome-work-shards/fit-*-0' jobs/{score,prune,refit,heal,merge}.yaml

mkdir whole
vkcome=$root/bin/vkcome corpus=(--tokens volumes/texts/tokens.json --samples 24 --seed 1)
"$vkcome" stats embedded:tiny12 whole/scores.safetensors "${corpus[@]}" -q >said
"$vkcome" prune embedded:tiny12 whole/pruned --target-layers 8 --stats whole/scores.safetensors -q >>said
"$vkcome" refit embedded:tiny12 whole/pruned whole/fitted "${corpus[@]}" --fit-all -q >>said
"$vkcome" distill embedded:tiny12 whole/fitted whole/out --tokens volumes/texts/tokens.json --seed 1 --budget-tokens 16384 --batch 4 --window 64 -q >>said
for name in scores.safetensors pruned fitted out; do diff -r whole/$name volumes/work/$name; done
echo "as without Kubernetes: $(find whole -type f | wc -l) files"
