# Checkpoints are in results/.../model.checkpoints. No rule declares this folder, because Snakemake deletes declared
# outputs before a rerun. On SIGTERM the trainer saves and ends; tee ignores the signal and writes its last messages.
# Trainings of a task share the cores and run side by side; each uses as many threads as it uses well.
rule train:
    input:
        corpus="results/{task}/corpus",
        split=split_table,
        parent=parent_model,
        points=points_file,
        database=stack_database,
        first=first_member,
    output:
        model=directory("results/{task}{variant}{part}/model"),
    log:
        "results/{task}{variant}{part}/logs/train.log",
    benchmark:
        "results/{task}{variant}{part}/benchmarks/train.tsv"
    priority: 1
    threads: cores_per_training
    params:
        run_file=run_file,
        sections=train_sections,
        variant=train_options,
        parts=lambda wildcards, input: ["--parts", *input.first] if input.first else [],
        trainer=trainer,
        threads=threads_each,
    message:
        "Training {wildcards.task}{wildcards.variant}{wildcards.part}"
    shell:
        "{params.trainer} train --run-file {params.run_file:q} {params.variant:q} --corpus {input.corpus:q} --split {input.split:q} "
        "{params.parts:q} --threads {params.threads} --output {output.model:q} 2>&1 | (trap '' TERM; exec tee -i {log:q})"


# The model starts first: attributions and motifs wait for it, and no long step waits for a variant. Snakemake's priority
# belongs to a rule, not to a job.
use rule train as train_variant with:
    output:
        model=directory("results/{task}{variant,/variants/[a-z0-9_]+}{part}/model"),
    priority: 0


ruleorder: train_variant > train


rule evaluate:
    input:
        corpus="results/{task}/corpus",
        split="results/{task}/split.tsv",
        model=own_models,
        variants=variant_models,
        points=points_file,
        database=database_file,
    output:
        "results/{task}/metrics.json",
        "results/{task}/predictions/valid.tsv",
        "results/{task}/predictions/test.tsv",
        baselines=directory("results/{task}/baselines"),
    log:
        "results/{task}/logs/evaluate.log",
    benchmark:
        "results/{task}/benchmarks/evaluate.tsv"
    threads: half_of_cores
    params:
        run_file=run_file,
        sections=sections("evaluation"),
        database=database_name,
        results=results_folder,
        variants=variant_options,
    message:
        "Evaluating {wildcards.task}, its baselines and its controls"
    shell:
        "selfattn-bio evaluate --run-file {params.run_file:q} --corpus {input.corpus:q} --split {input.split:q} "
        "--model {input.model:q} {params.variants:q} --output {params.results:q} 2>&1 | tee -i {log:q}"
