rule report:
    input:
        "results/{task}/corpus",
        "results/{task}/split.tsv",
        "results/{task}/audit.json",
        "results/{task}/model",
        "results/{task}/metrics.json",
        interpreted,
        database_file,
    output:
        report=report("results/{task}/report.html", caption="../report/page.rst", category="{task}"),
        plots=report(
            directory("results/{task}/plots"),
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
        run_file=run_file,
        sections=sections("title", "data", "split", "evaluation", "interpret"),
        results=results_folder,
    message:
        "Writing the report of {wildcards.task}"
    shell:
        "selfattn-bio report --run-file {params.run_file:q} --results {params.results:q} --output {output.report:q} 2>&1 | tee -i {log:q}"


rule notebook:
    input:
        shown_by,
        notebook=os.path.relpath(PROJECT / "notebooks/{notebook}.py"),
    output:
        notebook="results/{task}/{notebook}.ipynb",
    log:
        "results/{task}/logs/notebook_{notebook}.log",
    benchmark:
        "results/{task}/benchmarks/notebook_{notebook}.tsv"
    params:
        results=results_folder,
        # a kernel that does not log warnings about its connection to papermill, on the same machine
        kernels=os.path.relpath(PROJECT / "workflows/jupyter"),
        # the module of a user's own network may be next to the run file
        run_file=lambda wildcards: (
            ["-p", "run_file", run_file(wildcards)]
            if "model" in NOTEBOOKS[wildcards.notebook]
            else []
        ),
    message:
        "Running the {wildcards.notebook} notebook of {wildcards.task}"
    shell:
        "{{ jupytext --quiet --to ipynb --output {output.notebook:q} {input.notebook:q} && "
        "JUPYTER_PATH={params.kernels:q} papermill --no-progress-bar --kernel python3 {output.notebook:q} {output.notebook:q} -p results {params.results:q} {params.run_file:q}; }} "
        "2>&1 | tee -i {log:q}"
