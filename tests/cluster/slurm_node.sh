#!/bin/sh
# A Slurm of one node on the loopback, for the tests; wants root.
#   slurm_node.sh there          has this machine what it takes?
#   slurm_node.sh install        ... and if not, is this Debian, and can it be installed within minutes?
#   slurm_node.sh run FOLDER     prints "ready", and runs until its standard input ends; all that it writes is below FOLDER
set -eu
packages="slurmctld slurmd slurm-client munge"

there() { [ "$(id -u)" = 0 ] && for one in slurmctld slurmd sbatch squeue scancel sinfo munged; do command -v $one >/dev/null || return 1; done; }

refuse() { echo "the tests on Slurm are left out: $*" >&2; exit 1; }

install() {
    there && return
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || refuse "they want root, and $packages"
    log=$(mktemp); trap 'rm -f "$log"' EXIT
    # what may hang comes first and changes nothing; RUNLEVEL=1 keeps Debian from starting what it installs
    apt() {
        RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive timeout -k 10 90 apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o DPkg::Lock::Timeout=60 "$@" >"$log" 2>&1 </dev/null ||
            { [ $? -lt 124 ] || echo "no end within 90 s" >>"$log"; false; }
    }
    get() { apt install -y --no-install-recommends --download-only $packages; }
    get || { apt update && get; } || refuse "apt-get can't fetch $packages ($(tail -n 1 "$log"))"
    apt install -y --no-install-recommends --no-download $packages || refuse "apt-get can't install $packages ($(tail -n 1 "$log"))"
    there || refuse "$packages are installed, and yet something is missing"
}

run() {
    folder=$1 name=$(hostname -s) port=$((10000 + $$ % 10000 * 2)) alive=
    mkdir -p "$folder/state" "$folder/spool"
    cat > "$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$name(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
MpiDefault=none
NodeName=$name NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=q Nodes=$name Default=YES MaxTime=INFINITE State=UP
CONF
    export SLURM_CONF="$folder/slurm.conf" LD_PRELOAD=
    trap end EXIT
    trap 'exit 1' INT TERM HUP
    (umask 077; head -c 128 /dev/urandom > "$folder/munge.key")
    start munged --foreground --force --num-threads=2 --socket="$folder/munge" --key-file="$folder/munge.key" --pid-file="$folder/munged.pid" --seed-file="$folder/munge.seed" --log-file="$folder/munged.log"
    await test -S "$folder/munge"
    start slurmctld -D -c
    await sinfo
    start slurmd -D
    await idle
    echo ready
    cat >/dev/null
}

start() { echo "$*" >> "$folder/$1.out"; "$@" >> "$folder/$1.out" 2>&1 </dev/null & alive="$! $alive"; }

idle() { sinfo -h -o %T | grep -qx idle; }

await() {
    for _ in $(seq 300); do
        "$@" >/dev/null 2>&1 && return
        for one in $alive; do kill -0 "$one" 2>/dev/null || break 2; done
        sleep 0.2
    done
    tail -n 5 "$folder"/*.out "$folder"/*.log >&2
    exit 1
}

end() {
    trap '' INT TERM HUP
    timeout 10 scancel --user="$(id -un)" >/dev/null 2>&1 || true
    for _ in $(seq 100); do [ -n "$(timeout 10 squeue -h 2>/dev/null)" ] || break; sleep 0.2; done
    kill $alive 2>/dev/null || true
    for one in $alive; do
        for _ in $(seq 50); do kill -0 "$one" 2>/dev/null || continue 2; sleep 0.2; done
        kill -9 "$one"
    done
}

"$@"
