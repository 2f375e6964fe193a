#!/bin/bash
#SBATCH --job-name=vkcome-score --output=%x-%A_%a.log --open-mode=append
#SBATCH --ntasks=1 --gpus-per-task=1
#SBATCH --requeue --signal=TERM@120
# A task of an array: the scores of a part of the windows.
source "$1"
srun "$VKCOME" stats "$MODEL" "$WORK/scores-$SLURM_ARRAY_TASK_ID.safetensors" "${CORPUS[@]}" --shard "auto/$SHARDS" --resume && exit
code=$?
# 130: stopped by SIGTERM, at the time limit or for a job of higher priority. The task goes back into the queue, nine times at most.
if [ $code = 130 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 9 ]; then scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"; fi
exit $code
