#!/bin/bash
#SBATCH --job-name=vkcome-heal --output=%x-%A_%a.log --open-mode=append
#SBATCH --ntasks=1 --gpus-per-task=1
#SBATCH --requeue --signal=TERM@120
# A task of an array: trains a part of the merged layers.
source "$1"
srun "$VKCOME" distill "$MODEL" "$WORK/fitted" "$WORK/healed-$SLURM_ARRAY_TASK_ID" "${LESSONS[@]}" --shard "auto/$HEALERS" --resume && exit
code=$?
if [ $code = 130 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 9 ]; then # see score.sh
	scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit $code
