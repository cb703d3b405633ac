# A sweep is ranked on the validation set only. Its jobs get a split table without the test records, and `evaluate`
# refuses models trained with that table. The ranking reads the histories of the jobs.
rule hide_test:
    input:
        split="results/{task}/split.tsv",
    output:
        split="results/{task}/sweep/split.tsv",
    log:
        "results/{task}/logs/hide_test.log",
    localrule: True
    message:
        "Hiding the test records of {wildcards.task} from its sweep"
    shell:
        """awk -F '\\t' -v OFS='\\t' '$2 == "test" {{ $2 = "dropped"; $3 = "test, hidden from the sweep" }} 1' """
        "{input.split:q} > {output.split:q} 2> {log:q}"


rule sweep:
    input:
        models=sweep_models,
    output:
        table="results/{task}/sweep.tsv",
    log:
        "results/{task}/logs/sweep.log",
    benchmark:
        "results/{task}/benchmarks/sweep.tsv"
    params:
        run_file=run_file,
        sections=sections("sweep"),
        results="results/{task}",
    message:
        "Ranking the sweep of {wildcards.task} by its validation metric"
    shell:
        "selfattn-bio sweep --run-file {params.run_file:q} --results {params.results:q} --output {output.table:q} 2>&1 | tee -i {log:q}"
