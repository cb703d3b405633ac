# Snakemake deletes declared outputs before a rerun. The rule therefore declares only one file of the model folder, which
# scoring does not need: an earlier model stays until the new one is complete and replaces the folder. (With `update()`
# the rerun after an interruption would find nothing to do.) Checkpoints, in results/.../model.checkpoints, are not declared.
# On SIGTERM the trainer saves and ends; tee ignores the signal and writes its last messages.
# Trainings of a task share the cores and run side by side; each uses as many threads as it uses well.
rule train:
    input:
        TASK.corpus,
        TASK.split,
        parent_model,
        target_files,
        stack_database,
        first_member,
    output:
        PART.history,
    log:
        "results/{task}{variant}{part}/logs/train.log",
    benchmark:
        "results/{task}{variant}{part}/benchmarks/train.tsv"
    priority: 1
    threads: cores_per_training
    params:
        sections=train_sections,
        trainer=trainer,
        threads=threads_each,
    message:
        "Training {wildcards.task}{wildcards.variant}{wildcards.part}"
    shell:
        "{params.trainer} train results/{wildcards.task:q}{wildcards.variant}{wildcards.part} --threads {params.threads} "
        "2>&1 | (trap '' TERM; exec tee -i {log:q})"


use rule train as train_variant with:
    output:
        "results/{task}{variant,/variants/[a-z0-9_]+}{part}/model/history.csv",
    priority: 0


ruleorder: train_variant > train


rule evaluate:
    input:
        TASK.corpus,
        TASK.split,
        models_of,
        target_files,
        database_file,
    output:
        TASK.metrics,
        TASK.valid,
        TASK.test,
        TASK.card,
        directory(TASK.baselines),
    log:
        "results/{task}/logs/evaluate.log",
    benchmark:
        "results/{task}/benchmarks/evaluate.tsv"
    threads: half_of_cores
    params:
        sections=sections("evaluation"),
        database=database_name,
    message:
        "Evaluating {wildcards.task}, its baselines and its controls"
    shell:
        "selfattn-bio evaluate results/{wildcards.task:q} 2>&1 | tee -i {log:q}"
