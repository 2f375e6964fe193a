#!/bin/bash
#SBATCH --job-name=vkcome-refit --output=%x-%A_%a.log --open-mode=append
#SBATCH --ntasks=1 --gpus-per-task=1
#SBATCH --requeue --signal=TERM@120
# A task of an array, all of whose tasks must run at the same time: its share of the fit. As one job that starts when there is room for all,
# sbatch --ntasks=8 refit.sh SETTINGS does the same; it loses all its nodes when it loses one.
source "$1"
srun "$VKCOME" refit "$MODEL" "$WORK/pruned" "$WORK/fitted" "${CORPUS[@]}" --fit-all --shard "auto/$SHARDS" --wait "$WAIT" --resume && exit
code=$?
if [ $code = 130 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 9 ]; then # see score.sh
	scontrol requeue "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
fi
exit $code
