"""Rebuild selfattn_bio/models/promoter/, the model that ships, from a run of the promoter task.

    make ship-model                               # snakemake train_promoter, then this script
    python data/make_promoter_model.py [RESULTS]  # use another results folder than results/promoter

Copies the files that scoring, fine-tuning and the check of lineage need from
results/promoter/model, and writes the model card with the test figures from
results/promoter/metrics.json. Folder names of the training machine and a commit with uncommitted
changes are removed from the provenance; nothing else changes. Two runs with one thread and the
same versions of this and other packages give bit-identical weights.
"""

import json
import shutil
import sys
from pathlib import Path

from selfattn_bio.config import read_run_file
from selfattn_bio.evaluation.card import CARD, best_metrics, model_card
from selfattn_bio.files import whole_folder
from selfattn_bio.layout import Layout
from selfattn_bio.model.checkpoint import STACK, load_model

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "selfattn_bio/models/promoter"
PARTS = (
    "model.safetensors",
    "run.toml",
    "provenance.json",
    "reference.safetensors",
    "seen.parquet",
    "history.csv",
)


def main(results: Path) -> None:
    """Copy the model of a results folder into the package."""
    files, task = Layout(results), read_run_file(ROOT / "workflows/tasks/promoter.toml")
    run, _, provenance = load_model(files.model)
    # "auto" became the precision of the training machine
    training = task.training.model_copy(update={"precision": run.training.precision})
    if run != task.model_copy(update={"variants": {}, "training": training}):
        sys.exit(
            f"error: {files.model}: not trained from workflows/tasks/promoter.toml; train it again"
        )
    test = json.loads(files.metrics.read_text(encoding="utf-8"))["test"]["model"]
    program, *rest = provenance["command"]
    provenance["command"] = [
        "selfattn-bio" if Path(program).name == "main.py" else Path(program).name,
        *rest,
    ]
    if str(provenance["git_commit"]).endswith("-dirty"):
        provenance["git_commit"] = None
    with whole_folder(SHIPPED) as folder:
        for part in PARTS:
            shutil.copyfile(files.model / part, folder / part)
        shutil.copytree(files.model / STACK, folder / STACK)
        (folder / "provenance.json").write_text(
            json.dumps(provenance, indent=1) + "\n", encoding="utf-8"
        )
        card = model_card(folder, best_metrics(folder), test)
        (folder / CARD).write_text(card, encoding="utf-8")
    sizes = sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())
    print(
        f"{SHIPPED.relative_to(ROOT)}: {sizes / 1e6:.1f} MB, weights {provenance['weights_sha256']}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "results/promoter")
