#!/bin/sh
# Runs the jobs beside this file one after another. What is complete is left alone; after a failure, delete the job that failed, and start this again.
set -eu
cd "$(dirname "$0")"
kubectl apply -f volumes.yaml
for step in score prune refit heal merge; do
	kubectl apply -f $step.yaml
	while :; do
		case $(kubectl get job vkcome-$step -o 'jsonpath={.status.conditions[?(@.status=="True")].type}') in
		*Complete*) break ;;
		*Failed*)
			echo "vkcome-$step failed: kubectl logs job/vkcome-$step, kubectl describe job vkcome-$step" >&2
			exit 1
			;;
		esac
		sleep "${POLL:-10}"
	done
done
