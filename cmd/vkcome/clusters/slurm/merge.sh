#!/bin/bash
#SBATCH --job-name=vkcome-merge --output=%x-%j.log --open-mode=append
#SBATCH --ntasks=1 --gpus-per-task=1
#SBATCH --requeue
# Joins the healed layers.
source "$1"
parts=()
for ((i = 0; i < HEALERS; i++)); do parts+=("$WORK/healed-$i"); done
srun "$VKCOME" distill merge "$OUT" "${parts[@]}" --force
