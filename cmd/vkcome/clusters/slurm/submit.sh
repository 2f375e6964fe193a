#!/bin/bash
# Puts all steps into Slurm's queue, each behind the one before: ./submit.sh SETTINGS [options of sbatch for each, as --partition=gpu]
#
# Everything may be put there again with the same settings, after whatever ended it: what is done is found and kept.
set -eo pipefail
settings=$(realpath "$1")
shift
here=$(dirname "$(realpath "$0")")
source "$settings"
mkdir -p "$WORK"

after=
# queue SCRIPT [OPTIONS]: behind what was queued before.
queue() {
	local script=$1
	shift
	after=$(sbatch --parsable ${after:+--dependency=afterok:${after%%;*}} "$@" "$here/$script" "$settings")
	echo "$script ${after%%;*}"
}
queue score.sh --array="0-$((SHARDS - 1))" "$@"
queue prune.sh "$@"
queue refit.sh --array="0-$((SHARDS - 1))" "$@"
queue heal.sh --array="0-$((HEALERS - 1))" "$@"
queue merge.sh "$@"
