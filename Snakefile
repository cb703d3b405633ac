# Snakemake only looks for ./Snakefile; the workflow is in workflows/.
include: "workflows/classify.smk"
