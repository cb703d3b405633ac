def evidence_sections(wildcards) -> str:
    """Return the sections that motifs and their tests depend on; the block only if it is set."""
    block = ["evaluation.block"] if study_at(wildcards).run.evaluation.block else []
    return sections("interpret", *block)(wildcards)


# These steps start before further trainings, because together they take longer than each of them.
rule explain:
    input:
        TASK.corpus,
        TASK.split,
        PART.history,
    output:
        directory(PART.attribution),
    log:
        "results/{task}{variant}{part}/logs/explain.log",
    benchmark:
        "results/{task}{variant}{part}/benchmarks/explain.tsv"
    priority: 1
    threads: half_of_cores
    params:
        # the others are of motifs and their tests
        sections=sections(
            "interpret.targets", "interpret.max_sequences", "interpret.maps", "interpret.method"
        ),
    message:
        "Computing attributions of {wildcards.task}{wildcards.variant}{wildcards.part}"
    shell:
        "selfattn-bio explain results/{wildcards.task:q}{wildcards.variant}{wildcards.part} 2>&1 | tee -i {log:q}"


def motif_files(layout: Layout) -> list:
    """Return the outputs of `motifs`; the table is also in Snakemake's own report."""
    table = report(layout.motifs, caption="../report/motifs.rst", category="{task}")
    files = [layout.matrices, table, layout.motifs_source, layout.marginals]
    return [*files, layout.sites, layout.discovery_sites, directory(layout.logos)]


rule motifs:
    input:
        TASK.corpus,
        TASK.split,
        PART.history,
        PART.attribution,
        database_file,
    output:
        motif_files(PART),
    log:
        "results/{task}{variant}{part}/logs/motifs.log",
    benchmark:
        "results/{task}{variant}{part}/benchmarks/motifs.tsv"
    priority: 1
    threads: half_of_cores
    params:
        sections=evidence_sections,
        input="first",
    message:
        "Finding motifs of {wildcards.task}{wildcards.variant}{wildcards.part} and testing them on held-out records"
    shell:
        "selfattn-bio motifs results/{wildcards.task:q}{wildcards.variant}{wildcards.part} --input {params.input} 2>&1 | tee -i {log:q}"


use rule motifs as partner_motifs with:
    output:
        motif_files(PART.of_partner()),
    log:
        "results/{task}{variant}{part}/logs/partner_motifs.log",
    benchmark:
        "results/{task}{variant}{part}/benchmarks/partner_motifs.tsv"
    params:
        sections=evidence_sections,
        input="partner",
    message:
        "Finding motifs in the second input of {wildcards.task}{wildcards.variant}{wildcards.part} and testing them on held-out records"


rule interactions:
    input:
        TASK.corpus,
        TASK.split,
        VARIANT.history,
        VARIANT.matrices,
        VARIANT.motifs,
        VARIANT.discovery_sites,
    output:
        VARIANT.interactions,
        VARIANT.interactions_source,
        VARIANT.distances,
    log:
        "results/{task}{variant}/logs/interactions.log",
    benchmark:
        "results/{task}{variant}/benchmarks/interactions.tsv"
    priority: 1
    threads: half_of_cores
    params:
        sections=evidence_sections,
    message:
        "Testing interactions between motifs of {wildcards.task}{wildcards.variant}"
    shell:
        "selfattn-bio interactions results/{wildcards.task:q}{wildcards.variant} 2>&1 | tee -i {log:q}"
