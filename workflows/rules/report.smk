rule report:
    input:
        TASK.corpus,
        TASK.split,
        TASK.audit_counts,
        TASK.history,
        TASK.metrics,
        interpreted,
        database_file,
    output:
        report(TASK.report, caption="../report/page.rst", category="{task}"),
        report(
            directory(TASK.plots),
            patterns=["{plot}.png"],
            caption="../report/plot.rst",
            category="{task}",
            subcategory="plots",
        ),
    log:
        "results/{task}/logs/report.log",
    benchmark:
        "results/{task}/benchmarks/report.tsv"
    params:
        sections=sections("title", "data", "split", "evaluation", "interpret"),
    message:
        "Writing the report of {wildcards.task}"
    shell:
        "selfattn-bio report results/{wildcards.task:q} 2>&1 | tee -i {log:q}"


rule notebook:
    input:
        shown_by,
        notebook=os.path.relpath(PROJECT / "notebooks/{notebook}.py"),
    output:
        notebook=TASK.notebook("{notebook}"),
    log:
        "results/{task}/logs/notebook_{notebook}.log",
    benchmark:
        "results/{task}/benchmarks/notebook_{notebook}.tsv"
    params:
        # a kernel that does not log warnings about its connection to papermill, on the same machine
        kernels=os.path.relpath(PROJECT / "workflows/jupyter"),
    message:
        "Running the {wildcards.notebook} notebook of {wildcards.task}"
    shell:
        "{{ jupytext --quiet --to ipynb --output {output.notebook:q} {input.notebook:q} && "
        "JUPYTER_PATH={params.kernels:q} papermill --no-progress-bar --kernel python3 {output.notebook:q} {output.notebook:q} -p task {wildcards.task:q}; }} "
        "2>&1 | tee -i {log:q}"
