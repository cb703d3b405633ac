# How `train` is started. The machines are not part of a result's identity, so these are functions of resources, which
# Snakemake does not track: a run on more machines retrains nothing.


def half_of_cores(wildcards) -> int:
    """Return the cores of a step after training, so that those of the model and of a control run side by side."""
    return max(1, workflow.cores // 2)


def cores_per_training(wildcards) -> int:
    """Return the cores of one training, so that the trainings of its task run side by side."""
    run, is_job = run_of(wildcards.task), study_at(wildcards).address.job
    trainings = len(run.jobs()) if is_job else len(run.trained) * run.training.seeds
    return max(1, workflow.cores // trainings)


def nodes_and_tasks(resources) -> tuple[int, int]:
    """Return the number of machines of a rule, and of processes on all of them."""
    nodes = resources.get("nodes", 1)
    return nodes, resources.get("tasks", nodes * resources.get("tasks_per_node", 1))


def trainer(wildcards, resources, threads) -> str:
    """Return the shell words before `train`: `selfattn-bio`, or torchrun if a profile sets several `nodes` or `tasks`.

    With `mpi=srun nodes=2 tasks=2` srun starts one torchrun per node. They meet by c10d at the first node, which runs
    this shell.
    """
    nodes, tasks = nodes_and_tasks(resources)
    launcher = resources.get("mpi")
    if tasks == nodes == 1:
        return "selfattn-bio"
    if tasks % nodes:
        sys.exit(
            f"error: resources of train: tasks={tasks} cannot be divided evenly among nodes={nodes}"
        )
    if nodes > 1 and not launcher:
        sys.exit(f"error: resources of train: nodes={nodes} needs a launcher; add mpi=srun")
    here = tasks // nodes
    torchrun = f"torchrun --nproc-per-node={here} --no-python"
    if not launcher:
        return f"{torchrun} --standalone selfattn-bio"
    # --wait and no kill on a bad exit: processes with nothing to save end first, and the one that saves needs time.
    srun = f"{launcher} --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1 --cpus-per-task={here * threads} --wait=60 --kill-on-bad-exit=0"
    # The port depends on the job number, so that two jobs on one node use different ports.
    meeting = '--rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" --rdzv-endpoint="$(hostname):$((10000 + SLURM_JOB_ID % 20000))"'
    return f"{srun} {torchrun} --nnodes={nodes} {meeting} selfattn-bio"


def threads_each(wildcards, resources, threads) -> int:
    """Return the threads per process.

    Slurm gives each task all threads of the rule; on one machine the processes share them.
    """
    return threads if resources.get("mpi") else max(1, threads // nodes_and_tasks(resources)[1])
