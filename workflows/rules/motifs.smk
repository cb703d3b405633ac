# These steps start before further trainings, because together they take longer than each of them.
rule explain:
    input:
        corpus="results/{task}/corpus",
        split="results/{task}/split.tsv",
        model="results/{task}{variant}{part}/model",
    output:
        attribution=directory("results/{task}{variant}{part}/attribution"),
    log:
        "results/{task}{variant}{part}/logs/explain.log",
    benchmark:
        "results/{task}{variant}{part}/benchmarks/explain.tsv"
    priority: 1
    threads: half_of_cores
    params:
        run_file=run_file,
        sections=sections("interpret"),
    message:
        "Computing attributions of {wildcards.task}{wildcards.variant}{wildcards.part}"
    shell:
        "selfattn-bio explain --run-file {params.run_file:q} --model {input.model:q} --corpus {input.corpus:q} --split {input.split:q} "
        "--output {output.attribution:q} 2>&1 | tee -i {log:q}"


rule motifs:
    input:
        corpus="results/{task}/corpus",
        split="results/{task}/split.tsv",
        model="results/{task}{variant}{part}/model",
        attribution="results/{task}{variant}{part}/attribution",
        database=database_file,
    output:
        "results/{task}{variant}{part}/motifs.meme",
        report(
            "results/{task}{variant}{part}/motifs.tsv",
            caption="../report/motifs.rst",
            category="{task}",
        ),
        "results/{task}{variant}{part}/marginals.tsv",
        "results/{task}{variant}{part}/seqlets.bed",
        "results/{task}{variant}{part}/discovery_seqlets.bed",
        directory("results/{task}{variant}{part}/logos"),
    log:
        "results/{task}{variant}{part}/logs/motifs.log",
    benchmark:
        "results/{task}{variant}{part}/benchmarks/motifs.tsv"
    priority: 1
    threads: half_of_cores
    params:
        attribution=lambda wildcards, input: input.attribution,
        run_file=run_file,
        sections=sections("interpret"),
        results=results_folder,
    message:
        "Finding motifs of {wildcards.task}{wildcards.variant}{wildcards.part} and testing them on held-out records"
    shell:
        "selfattn-bio motifs --run-file {params.run_file:q} --model {input.model:q} --corpus {input.corpus:q} --split {input.split:q} "
        "--attribution {params.attribution:q} --output {params.results:q} 2>&1 | tee -i {log:q}"


use rule motifs as partner_motifs with:
    output:
        "results/{task}{variant}{part}/partner/motifs.meme",
        report(
            "results/{task}{variant}{part}/partner/motifs.tsv",
            caption="../report/motifs.rst",
            category="{task}",
        ),
        "results/{task}{variant}{part}/partner/marginals.tsv",
        "results/{task}{variant}{part}/partner/seqlets.bed",
        "results/{task}{variant}{part}/partner/discovery_seqlets.bed",
        directory("results/{task}{variant}{part}/partner/logos"),
    log:
        "results/{task}{variant}{part}/logs/partner_motifs.log",
    benchmark:
        "results/{task}{variant}{part}/benchmarks/partner_motifs.tsv"
    params:
        attribution=lambda wildcards, input: f"{input.attribution}/partner",
    message:
        "Finding motifs in the second input of {wildcards.task}{wildcards.variant}{wildcards.part} and testing them on held-out records"


rule interactions:
    input:
        corpus="results/{task}/corpus",
        split="results/{task}/split.tsv",
        model="results/{task}{variant}/model",
        motifs=multiext(
            "results/{task}{variant}/", "motifs.meme", "motifs.tsv", "discovery_seqlets.bed"
        ),
    output:
        interactions="results/{task}{variant}/interactions.tsv",
        distances="results/{task}{variant}/interactions.distances.tsv",
    log:
        "results/{task}{variant}/logs/interactions.log",
    benchmark:
        "results/{task}{variant}/benchmarks/interactions.tsv"
    priority: 1
    threads: half_of_cores
    params:
        run_file=run_file,
        sections=sections("interpret"),
        results=results_folder,
    message:
        "Testing interactions between motifs of {wildcards.task}{wildcards.variant}"
    shell:
        "selfattn-bio interactions --run-file {params.run_file:q} --model {input.model:q} --corpus {input.corpus:q} "
        "--split {input.split:q} --motifs {params.results:q} --output {output.interactions:q} 2>&1 | tee -i {log:q}"
