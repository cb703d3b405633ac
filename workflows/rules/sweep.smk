# A sweep is ranked on the validation set only. Its jobs are trained with a split table without the test records, and
# `evaluate` refuses models trained with that table. The ranking reads the histories of the jobs.
rule sweep:
    input:
        sweep_models,
    output:
        TASK.ranking,
    log:
        "results/{task}/logs/sweep.log",
    benchmark:
        "results/{task}/benchmarks/sweep.tsv"
    params:
        sections=sections("sweep"),
    message:
        "Ranking the sweep of {wildcards.task} by its validation metric"
    shell:
        "selfattn-bio sweep results/{wildcards.task:q} 2>&1 | tee -i {log:q}"
