#!/bin/sh
# A Slurm of one node on the loopback, for the tests: `slurm_node.sh start FOLDER` and `slurm_node.sh stop FOLDER`. Wants root, and on Debian
# apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge
set -eu
folder=$2 name=$(hostname)
if [ "$1" = stop ]; then
    for one in slurmd slurmctld munged; do [ ! -e "$folder/$one.pid" ] || kill "$(cat "$folder/$one.pid")" || true; done
    exit
fi
mkdir -p "$folder/state" "$folder/spool" /run/munge
chown munge: /run/munge
[ -S /run/munge/munge.socket.2 ] || { runuser -u munge -- /usr/sbin/munged; cp /run/munge/munged.pid "$folder/munged.pid"; }
cat > "$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$name(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
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
slurmctld -c
sleep 1
slurmd
for _ in 1 2 3 4 5 6 7 8 9 10; do sinfo -h -o %T | grep -q idle && exit; sleep 1; done
sinfo
exit 1
