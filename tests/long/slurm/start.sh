#!/usr/bin/env bash
# Start a throw-away Slurm of two virtual nodes on this machine, without systemd, cgroups or accounting: start.sh DIR [CPUS a node].
#
# DIR is new. Slurm's programs are taken from Debian (slurmctld slurmd slurm-client munge). Its configuration must be in /etc/slurm, since
# the executor plugin strips SLURM_CONF from what it starts; links are put there, and stop.sh removes them.
set -euo pipefail

refuse() {
  echo "start.sh: $1" >&2
  exit 1
}
[[ ${SELFATTN_SLURM_TEST:-} == 1 ]] || refuse "SELFATTN_SLURM_TEST must be 1: this starts daemons and writes links in /etc/slurm"
((EUID == 0)) || refuse "must be run by root, got user $(id -un)"
DIR=$(realpath -m "${1:?the folder to make}")
CPUS=${2:-1}
[[ ! -e $DIR ]] || refuse "folder must be new, got $DIR"
for file in slurm.conf cgroup.conf gres.conf; do
  [[ ! -e /etc/slurm/$file && ! -L /etc/slurm/$file ]] ||
    refuse "/etc/slurm/$file is there already: another Slurm's, or this test's if it was killed (then: stop.sh $(dirname "$(readlink -m "/etc/slurm/$file")"))"
done
[[ -s /etc/munge/munge.key ]] || refuse "/etc/munge/munge.key must be there; installing munge makes it"

mkdir -p "$DIR"/state "$DIR"/spool.n1 "$DIR"/spool.n2 "$DIR"/log
if ! munge -n > /dev/null 2>&1; then
  install -d -o munge -g munge -m 0755 /run/munge
  install -d -o munge -g munge -m 0700 /var/log/munge /var/lib/munge
  runuser -u munge -- /usr/sbin/munged
  for _ in {1..50}; do munge -n > /dev/null 2>&1 && break || sleep 0.1; done
  cp /run/munge/munged.pid "$DIR/munged.pid" # only one that was started here is ended by stop.sh
fi

NODE=$(hostname -s)
MEMORY=$(awk '/MemTotal/ {print int($2 / 1024 * 0.4)}' /proc/meminfo) # MB a node
CGROUP=disabled
if [[ $(/usr/sbin/slurmctld -V) == *" 22."* ]]; then CGROUP=cgroup/v1; fi # Debian 12's cannot disable it; this one does nothing unless asked
echo "CgroupPlugin=$CGROUP" > "$DIR/cgroup.conf"
# No GPU: a file that Slurm counts as one, so that it schedules by it.
printf 'AutoDetect=off\nNodeName=n1,n2 Name=gpu File=/dev/null\n' > "$DIR/gres.conf"
cat > "$DIR/slurm.conf" << END
ClusterName=selfattn-bio-test
SlurmctldHost=$NODE(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
SlurmctldPort=46817
ReturnToService=2
StateSaveLocation=$DIR/state
SlurmdSpoolDir=$DIR/spool.%n
SlurmctldPidFile=$DIR/slurmctld.pid
SlurmdPidFile=$DIR/slurmd.%n.pid
SlurmctldLogFile=$DIR/log/slurmctld.log
SlurmdLogFile=$DIR/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$DIR/jobcomp.txt
MinJobAge=300
KillWait=5
SlurmctldTimeout=30
SlurmdTimeout=30
InactiveLimit=0
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname=$NODE NodeAddr=127.0.0.1 Port=46821 CPUs=$CPUS RealMemory=$MEMORY Gres=gpu:1 State=UNKNOWN
NodeName=n2 NodeHostname=$NODE NodeAddr=127.0.0.1 Port=46822 CPUs=$CPUS RealMemory=$MEMORY Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=1440 DefMemPerCPU=500 State=UP
END
touch "$DIR/jobcomp.txt"
mkdir -p /etc/slurm
ln -s "$DIR/slurm.conf" "$DIR/cgroup.conf" "$DIR/gres.conf" /etc/slurm/
/usr/sbin/slurmctld -c
/usr/sbin/slurmd -c -N n1
/usr/sbin/slurmd -c -N n2
for _ in {1..600}; do
  if [[ $(sinfo --noheader --format=%T:%D 2> /dev/null || true) == idle:2 ]]; then
    # Not another Slurm that listens on these ports and answers in their place.
    for file in slurmctld slurmd.n1 slurmd.n2; do
      kill -0 "$(cat "$DIR/$file.pid")" || refuse "$file must run as process of $DIR/$file.pid, got none: see $DIR/log"
    done
    exit 0
  fi
  sleep 0.1
done
tail -n 20 "$DIR"/log/*.log >&2
refuse "Slurm must have two idle nodes within 60 s"
