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
        sections=sections("data"),
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
