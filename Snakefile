# Snakemake looks for ./Snakefile; the workflow is in workflows/.
include: "workflows/Snakefile"
