# Snakemake looks for ./Snakefile only; the workflow stands in workflows/.
include: "workflows/classify.smk"
