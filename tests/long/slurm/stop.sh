#!/usr/bin/env bash
# End the Slurm that `start.sh DIR` started: its jobs, its daemons by their pid files, the links in /etc/slurm that lead to DIR. No other.
set -euo pipefail

if [[ ${SELFATTN_SLURM_TEST:-} != 1 ]]; then
  echo "stop.sh: SELFATTN_SLURM_TEST must be 1: this ends daemons and removes links in /etc/slurm" >&2
  exit 1
fi
DIR=$(realpath -m "${1:?the folder that start.sh made}")

leads_here() { # a link in /etc/slurm into DIR, also where DIR is gone
  [[ -L /etc/slurm/$1 && $(readlink "/etc/slurm/$1") == "$DIR/$1" ]]
}

is_program() { # process PID is a living NAME: no later process of that number, and no zombie, which has no program
  [[ $(readlink "/proc/$1/exe") == */"$2"* ]] # Debian's slurmctld is slurmctld-wlm
}

running() { # the daemon NAME whose pid stands in FILE
  [[ -s $2 ]] && is_program "$(cat "$2")" "$1"
}

end() {
  local name=$1 file=$2 pid
  running "$name" "$file" || return 0
  pid=$(cat "$file")
  kill "$pid"
  for _ in {1..100}; do
    is_program "$pid" "$name" || return 0
    sleep 0.1
  done
  echo "stop.sh: $name (process $pid) must end within 10 s of SIGTERM" >&2
  return 1
}

if leads_here slurm.conf && running slurmctld "$DIR/slurmctld.pid"; then
  scancel --state=PENDING --quiet --user=root
  scancel --state=RUNNING --quiet --user=root
  for _ in {1..200}; do # the nodes must be there to end their jobs
    [[ -n $(squeue --noheader) ]] || break
    sleep 0.1
  done
fi
end slurmd "$DIR/slurmd.n1.pid"
end slurmd "$DIR/slurmd.n2.pid"
end slurmctld "$DIR/slurmctld.pid"
end munged "$DIR/munged.pid"
for file in slurm.conf cgroup.conf gres.conf; do
  if leads_here "$file"; then rm "/etc/slurm/$file"; fi
done
