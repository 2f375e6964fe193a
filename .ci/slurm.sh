#!/usr/bin/env bash
# What `make test-slurm` runs: the scripts of cmd/vkcome/clusters/slurm on a real Slurm, which this starts for itself: four nodes that are four
# slurmd on this machine, with its own munge key, configuration, ports and folders. It takes nothing of a Slurm that may be here, and ends what it
# started. VKCOME_SLURM_DIR names a folder for all of it, which then stays.
#
# A task is put back by hand, one loses its node, one is stopped by SIGTERM, one fails and holds what depends on it; then everything is put into the
# queue again. What comes of it is compared, to the byte, with what the same commands make without Slurm and without parts.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
scripts=$root/cmd/vkcome/clusters/slurm
dir=${VKCOME_SLURM_DIR:-$(mktemp -d)}
mkdir -p "$dir"
cd "$dir"
export SLURM_CONF=$dir/slurm.conf LP_NUM_THREADS=1 # a thread for each task: four of them share the cores
export USER=${USER:-$(id -un)} # which settings.sh speaks of
unset VKCOME_DEVICE
began=$SECONDS

say() { printf '%4d s  %s\n' $((SECONDS - began)) "$*"; }

fail() {
	echo "test-slurm: $*" >&2
	squeue --array >&2 || true
	sinfo -N >&2 || true
	tail -n 25 "$dir"/*.log "$dir"/log/slurmctld.log >&2 || true
	exit 1
}

# processes lists those of a node: all that runs on it, what started that, and its slurmd.
processes() {
	local pid parent
	for pid in $(grep -lzxF "SLURMD_NODENAME=$1" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3); do
		parent=$(ps -o ppid= -p "$pid" | tr -d ' ') || continue
		[ "$(cat "/proc/$parent/comm" 2>/dev/null)" != slurmstepd ] || echo "$parent"
		echo "$pid"
	done | sort -u
	cat "slurmd.$1.pid"
}

stop() {
	trap - EXIT
	local pid
	[ ! -e slurmctld.pid ] || { scancel --user="$USER" && sleep 1; } || true
	for pid in slurmctld.pid slurmd.n?.pid munge/munged.pid; do
		[ -e "$pid" ] && kill "$(cat "$pid")" 2>/dev/null || true
	done
	sleep 1
	# What a node had left behind has its node in its environment, and its configuration is this.
	for pid in $(grep -lzxF "SLURM_CONF=$SLURM_CONF" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3); do
		case $(cat "/proc/$pid/comm" 2>/dev/null || true) in slurm* | munged | vkcome | srun) kill -9 "$pid" 2>/dev/null || true ;; esac
	done
	[ -n "${VKCOME_SLURM_DIR:-}" ] || rm -rf "$dir"
}
trap 'code=$?; stop; exit $code' EXIT
trap 'exit 130' INT TERM

# free says whether nobody listens at any of the ports from one on.
free() {
	local port
	for ((port = $1; port < $1 + 6; port++)); do
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return 1
	done
	return 0
}

start() {
	local port=$((20000 + RANDOM % 10000)) user node
	until free $port; do port=$((port + 10)); done
	user=$USER
	mkdir -p munge log spool state
	chmod 755 .
	chmod 711 munge
	(umask 077 && head -c 128 /dev/urandom >munge/key)
	munged --key-file="$dir/munge/key" --socket="$dir/munge/socket" --pid-file="$dir/munge/munged.pid" --log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
	cat >slurm.conf <<-END
		ClusterName=vkcome
		SlurmctldHost=localhost(127.0.0.1)
		SlurmctldPort=$port
		SlurmUser=$user
		SlurmdUser=$user
		AuthType=auth/munge
		AuthInfo=socket=$dir/munge/socket,cred_expire=5
		CryptoType=crypto/munge
		MpiDefault=none
		ProctrackType=proctrack/linuxproc
		TaskPlugin=task/none
		SelectType=select/cons_tres
		SelectTypeParameters=CR_Core
		GresTypes=gpu
		ReturnToService=2
		SlurmdTimeout=300
		KillWait=5
		MessageTimeout=60
		SchedulerParameters=bf_interval=1,sched_interval=5
		SlurmctldPidFile=$dir/slurmctld.pid
		SlurmdPidFile=$dir/slurmd.%n.pid
		SlurmdSpoolDir=$dir/spool/%n
		StateSaveLocation=$dir/state
		SlurmctldLogFile=$dir/log/slurmctld.log
		SlurmdLogFile=$dir/log/slurmd.%n.log
		AccountingStorageType=accounting_storage/none
		JobAcctGatherType=jobacct_gather/none
		JobCompType=jobcomp/none
		NodeName=n[1-4] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + 4))] CPUs=1 RealMemory=100 Gres=gpu:1
		PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
	END
	echo 'NodeName=n[1-4] Name=gpu File=/dev/null' >gres.conf # a GPU that is not there, so that the scripts can ask for one
	slurmctld
	for node in n1 n2 n3 n4; do
		mkdir -p "spool/$node"
		slurmd -N $node
	done
	until_true 60 "the nodes" eval '[ "$(sinfo -h -N -t idle | wc -l)" = 4 ]'
}

# until_true SECONDS WHAT COMMAND...: waits for it.
until_true() {
	local most=$((SECONDS + $1)) what=$2
	shift 2
	until "$@"; do
		[ $SECONDS -lt $most ] || fail "waited in vain for $what"
		sleep 0.02
	done
}

state() { scontrol -o show job "$1" | sed -n 's/.*JobState=\([A-Z_]*\) Reason=\([A-Za-z]*\).*/\1 \2/p' | sort -u; }
ended() { ! state "$1" | grep -qE 'PENDING|RUNNING|COMPLETING|REQUEUE|SUSPENDED'; }
all_ended() { local job; for job; do ended "$job" || return 1; done; }
restarts() { scontrol -o show job "$1" | sed -n 's/.* Restarts=\([0-9]*\) .*/\1/p'; }

# settings NAME [LINES]: a file of settings whose model is written to NAME.
settings() {
	cat >"$1.sh" <<-END
		source "$scripts/settings.sh"
		MODEL=embedded:tiny12
		OUT=$dir/$1
		WORK=$dir/$1.parts
		VKCOME=$root/bin/vkcome
		LAYERS=8
		CORPUS=(--tokens $root/testdata/golden/calib_tokens.json --window 128 --samples 24 --seed 1)
		LESSONS=(--tokens $root/testdata/golden/calib_tokens.json --window 64 --seed 1 --budget-tokens 16384 --batch 4 --checkpoint 200ms)
		SHARDS=3
		HEALERS=3
		WAIT=2m
		${2:-}
	END
}

submit() { "$scripts/submit.sh" "$1.sh" | tee "$1.jobs"; }
job() { sed -n "s/^$2 //p" "$1.jobs"; } # NAME SCRIPT

"$root/.ci/setup.sh" slurm
settings whole
(
	source ./whole.sh
	mkdir -p "$WORK"
	cd "$WORK"
	say "without Slurm"
	"$VKCOME" stats "$MODEL" scores.safetensors "${CORPUS[@]}" -q >said
	"$VKCOME" prune "$MODEL" pruned --target-layers "$LAYERS" --stats scores.safetensors -q >>said
	"$VKCOME" refit "$MODEL" pruned fitted "${CORPUS[@]}" --fit-all -q >>said
	"$VKCOME" distill "$MODEL" fitted ../whole "${LESSONS[@]}" -q >>said
)
start
say "$(slurmctld -V), $(sinfo -h -o '%D nodes')"

say "a task that fails holds what depends on it"
settings out
mkdir out.parts
cp whole.parts/scores.safetensors out.parts/scores-1.safetensors # not what task 1 would write
submit out
score=$(job out score.sh) prune=$(job out prune.sh)
until_true 120 "the tasks that score" all_ended "$score"
[ "$(state "${score}_1")" = "FAILED NonZeroExitCode" ] || fail "task 1 met a file of others: $(state "${score}_1")"
grep -q "holds figures of windows 0 to 23, not of 8 to 15" "vkcome-score-${score}_1.log" || fail "it did not say so"
until_true 30 "the reason" eval '[ "$(state "$prune")" = "PENDING DependencyNeverSatisfied" ]'
for script in prune refit heal merge; do scancel "$(job out $script.sh)"; done

say "all is put there again; a task is put back by hand"
rm out.parts/scores-1.safetensors
first=$(stat -c %Y.%i out.parts/scores-0.safetensors)
submit out
score=$(job out score.sh) refit=$(job out refit.sh) heal=$(job out heal.sh) merge=$(job out merge.sh)
until_true 60 "a task that scores" test -s "vkcome-score-${score}_1.log"
scontrol requeue "${score}_1" || true # it may have ended just before

say "task 1 of the fit loses its node"
shared=out.parts/.fitted.vkcome-work-shards
until_true 180 "task 1 of the fit" test -e $shared/part-000001.json
node=$(squeue -h -j "${refit}_1" -o %N)
lost=$(processes "$node")
until_true 180 "a fit" compgen -G "$shared/fit-*-0" >/dev/null
kill -9 $lost || fail "task 1 of the fit had ended before its node was killed"
scontrol update nodename="$node" state=down reason="killed by the test"
until_true 120 "the fit" all_ended "$refit"
[ "$(restarts "${refit}_1")" = 1 ] || fail "task 1 of the fit was started again $(restarts "${refit}_1") times"
[ "$(stat -c %Y.%i out.parts/scores-0.safetensors)" = "$first" ] || fail "scores that were there were computed again"

say "task 0 that heals gets SIGTERM"
until_true 180 "a checkpoint" compgen -G "out.parts/.healed-0.vkcome-work/step*" >/dev/null
scancel --signal=TERM "${heal}_0"
until_true 240 "the model" all_ended "$heal" "$merge"
[ "$(restarts "${heal}_0")" = 1 ] || fail "task 0 that heals was started again $(restarts "${heal}_0") times"
grep -q "going on" "vkcome-heal-${heal}_0.log" || fail "it did not go on with its checkpoint"

say "the bytes"
for name in out.parts/scores.safetensors out.parts/pruned out.parts/fitted out; do
	diff -r "${name/#out/whole}" "$name" || fail "$name is not what one machine makes"
done
left=$(find out.parts -name '.*' ! -name . | head)
[ -z "$left" ] || fail "left behind: $left"
say "as without Slurm: $(find whole whole.parts -type f | wc -l) files"

say "an array of four, where three can run: what it says"
settings crowd 'SHARDS=4 WAIT=3s'
mkdir crowd.parts
cp -r out.parts/pruned crowd.parts
crowd=$(sbatch --parsable --array=0-3 "$scripts/refit.sh" crowd.sh)
until_true 120 "the crowd" all_ended "$crowd"
grep -hE "did not come from part . of 4 within 3s \(--wait\)" vkcome-refit-"${crowd}"_*.log | head -1 | grep . || fail "nobody said who is missing"

say "as tasks of one job, which start together"
settings gang
mkdir gang.parts
cp -r out.parts/pruned gang.parts
gang=$(sbatch --parsable --ntasks=3 --output=gang.log "$scripts/refit.sh" gang.sh)
until_true 120 "the job of three" all_ended "$gang"
[ "$(state "$gang")" = "COMPLETED None" ] || fail "the job of three: $(state "$gang")"
diff -r whole.parts/fitted gang.parts/fitted || fail "it is not what one machine makes"

say "passed"
