#!/bin/bash
#SBATCH --job-name=vkcome-prune --output=%x-%j.log --open-mode=append
#SBATCH --ntasks=1 --gpus-per-task=1
#SBATCH --requeue --signal=TERM@120
# Joins the scores and prunes by them.
source "$1"
parts=()
for ((i = 0; i < SHARDS; i++)); do parts+=("$WORK/scores-$i.safetensors"); done
srun "$VKCOME" stats merge "$WORK/scores.safetensors" "${parts[@]}" --force &&
	srun "$VKCOME" prune "$MODEL" "$WORK/pruned" --target-layers "$LAYERS" --stats "$WORK/scores.safetensors" --resume && exit
code=$?
if [ $code = 130 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 9 ]; then scontrol requeue "$SLURM_JOB_ID"; fi # see score.sh
exit $code
