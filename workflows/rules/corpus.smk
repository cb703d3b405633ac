rule ingest:
    input:
        data_files,
    output:
        corpus=directory("results/{task}/corpus"),
    log:
        "results/{task}/logs/ingest.log",
    benchmark:
        "results/{task}/benchmarks/ingest.tsv"
    params:
        run_file=run_file,
        sections=sections("data", "partner"),
        rest=read_by_ingest,
    message:
        "Reading the sequences of {wildcards.task}"
    shell:
        "selfattn-bio ingest --run-file {params.run_file:q} --output {output.corpus:q} 2>&1 | tee -i {log:q}"


rule split:
    input:
        corpus="results/{task}/corpus",
    output:
        split="results/{task}/split.tsv",
    log:
        "results/{task}/logs/split.log",
    benchmark:
        "results/{task}/benchmarks/split.tsv"
    params:
        run_file=run_file,
        sections=sections("split"),
    message:
        "Splitting {wildcards.task} into train, valid and test"
    shell:
        "selfattn-bio split --run-file {params.run_file:q} --corpus {input.corpus:q} --output {output.split:q} 2>&1 | tee -i {log:q}"


# No training depends on its output, because a changed limit would then retrain. `priority` starts it before the training,
# and a failed audit stops the workflow.
rule audit:
    input:
        corpus="results/{task}/corpus",
        split="results/{task}/split.tsv",
        parent=parent_models,
    output:
        table="results/{task}/audit.tsv",
        counts="results/{task}/audit.json",
    log:
        "results/{task}/logs/audit.log",
    benchmark:
        "results/{task}/benchmarks/audit.tsv"
    priority: 1
    params:
        run_file=run_file,
        sections=sections("audit", "transfer"),
    message:
        "Comparing the test records of {wildcards.task} with its training records"
    shell:
        "selfattn-bio audit --run-file {params.run_file:q} --corpus {input.corpus:q} --split {input.split:q} --output {output.table:q} "
        "2>&1 | tee -i {log:q}"
