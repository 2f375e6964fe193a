#!/usr/bin/env bash
# Known vulnerabilities in what vkcome links and reaches, by govulncheck. The database is a snapshot: the module golang.org/x/vulndb, which
# the Go module proxy serves as it does any other, so that no other host need be reached. Take a newer one now and then: VULNDB=latest.
set -euo pipefail
cd "$(dirname "$0")/.."
database=golang.org/x/vulndb@${VULNDB:-v0.0.0-20261105234957-e22db6528018}
dir=$(cd "$(mktemp -d)" && go mod download -json "$database" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
[ -d "$dir/data/osv" ] || { echo "vulncheck: $database holds no data/osv"; exit 1; }
exec go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 -db "file://$dir/data/osv" "${@:-./...}"
