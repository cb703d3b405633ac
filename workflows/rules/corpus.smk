rule ingest:
    input:
        data_files,
    output:
        directory(TASK.corpus),
    log:
        "results/{task}/logs/ingest.log",
    benchmark:
        "results/{task}/benchmarks/ingest.tsv"
    params:
        sections=sections("data", "partner"),
        rest=read_by_ingest,
    message:
        "Reading the sequences of {wildcards.task}"
    shell:
        "selfattn-bio ingest results/{wildcards.task:q} 2>&1 | tee -i {log:q}"


rule split:
    input:
        TASK.corpus,
    output:
        TASK.split,
    log:
        "results/{task}/logs/split.log",
    benchmark:
        "results/{task}/benchmarks/split.tsv"
    params:
        sections=split_sections,
    message:
        "Splitting {wildcards.task} into train, valid and test"
    shell:
        "selfattn-bio split results/{wildcards.task:q} 2>&1 | tee -i {log:q}"


# No training depends on its output, because a changed limit would then retrain. `priority` starts it before the training,
# and a failed audit stops the workflow.
rule audit:
    input:
        TASK.corpus,
        TASK.split,
        parent_models,
    output:
        TASK.audit,
        TASK.audit_counts,
    log:
        "results/{task}/logs/audit.log",
    benchmark:
        "results/{task}/benchmarks/audit.tsv"
    priority: 2
    params:
        sections=sections("audit", "transfer"),
    message:
        "Comparing the test records of {wildcards.task} with its training records"
    shell:
        "selfattn-bio audit results/{wildcards.task:q} 2>&1 | tee -i {log:q}"
