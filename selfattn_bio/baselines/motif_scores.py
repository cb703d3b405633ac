"""Gradient boosting on the scores of known motifs."""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.baselines.base import Baseline, Labels, Logits, Setup, State, sample_rows
from selfattn_bio.baselines.forest import Forest
from selfattn_bio.baselines.trees import Trees
from selfattn_bio.config import NO_DATABASE
from selfattn_bio.data.composition import Letters
from selfattn_bio.motifs import open_database
from selfattn_bio.motifs.scores import ScoreMatrices

SEEDS = 3  # number of boosters that are averaged
# Maximum number of trees, and trees without improvement on valid before it stops
ROUNDS, PATIENCE = 2000, 100
PARAMETERS: dict[str, Any] = {
    **{"objective": "binary", "metric": "binary_logloss", "learning_rate": 0.05, "num_leaves": 15},
    **{
        "feature_fraction": 0.1,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 1.0,
        "max_bin": 63,
    },
    **{"deterministic": True, "force_col_wise": True, "verbosity": -1},
}
WORK = 10_000_000_000  # maximum bp x motifs scored for training, which takes minutes on one core
MAX_RECORDS = 100_000  # maximum number of training records that are scored
LONGEST = 20_000  # maximum length of a record in bp
PIECE = 4096  # records scored at once; 33 MB with 1,000 motifs


class MotifScores(Baseline):
    """Gradient boosting on the best hit and occupancy of every motif of a database.

    Both strands are scored. LightGBM stops early on the validation split, and three seeds are
    averaged. A large training split is sampled, so that scoring takes minutes.
    """

    name, title, short_title = "motif_scores", "gradient boosting on motif scores", "motif scores"
    alphabets = ("dna",)
    reads_database = True

    matrices: ScoreMatrices
    trees: list[Forest]

    @classmethod
    def obstacle(cls, setup: Setup, train: Letters) -> str:
        """Return why motifs cannot be scored: there is no database, or records are too long."""
        if setup.database == NO_DATABASE:
            return "the task names no motif database"
        if (longest := max(len(record) for record in train)) > LONGEST:
            return f"the longest record has {longest:,} bp, more than {LONGEST:,}"
        return ""

    def chosen(self) -> dict[str, Any]:
        """Return the number of trees of each seed, of training records and of motifs."""
        return {
            "trees": [each.num_trees for each in self.trees],
            "records": self.records,
            "motifs": len(self.matrices),
        }

    def _fit(
        self, train: Letters, labels: Labels, valid: tuple[Letters, ...], valid_labels: Labels
    ) -> None:
        import lightgbm

        self.matrices = ScoreMatrices.from_probabilities(open_database(self.setup.database))
        work = sum(len(record) for record in train) * len(self.matrices)
        rows = sample_rows(
            labels, max(2, min(MAX_RECORDS, int(len(train) * min(1.0, WORK / work))))
        )
        self.records = len(rows)
        x = self.matrices.scores([train[int(row)] for row in rows])
        x_valid = self.matrices.scores(valid[0])
        self.trees = []
        for seed in range(SEEDS):
            least = min(20, max(1, len(rows) // 50))
            parameters = PARAMETERS | {
                "min_data_in_leaf": least,
                "seed": seed,
                "num_threads": self.setup.threads,
            }
            data = lightgbm.Dataset(x, labels[rows], params=parameters)
            on_valid = lightgbm.Dataset(x_valid, valid_labels, reference=data)
            stop = lightgbm.early_stopping(PATIENCE, verbose=False)
            booster = lightgbm.train(
                parameters, data, ROUNDS, valid_sets=[on_valid], callbacks=[stop]
            )
            text = booster.model_to_string(num_iteration=booster.best_iteration)
            self.trees.append(Forest.read(text))

    def _logits(self, letters: Letters) -> Logits:
        pieces = (letters[start : start + PIECE] for start in range(0, len(letters), PIECE))
        return np.concatenate([self._boosted(self.matrices.scores(piece)) for piece in pieces])

    def window_logits(self, letters: NDArray[np.uint8], size: int, stride: int) -> Logits:
        """Return the logits of overlapping windows, which are the same on both strands."""
        logits = self._boosted(self.matrices.window_scores(letters, size, stride))
        return np.stack([logits, logits])

    def _boosted(self, scores: NDArray[Any]) -> Logits:
        return cast(Logits, np.mean([forest.sums(scores) for forest in self.trees], axis=0))

    @cached_property
    def _as_arrays(self) -> Trees:
        import lightgbm

        return Trees.of([lightgbm.Booster(model_str=forest.text) for forest in self.trees])

    def _effects(self, letters: Letters) -> list[NDArray[np.float64]]:
        trees, number = self._as_arrays, len(self.matrices)
        motifs = np.unique(trees.features % number)
        columns = np.concatenate([motifs, motifs + number])
        read = np.searchsorted(columns, trees.features)
        effects = []
        for record in letters:
            given, changed = self.matrices.score_substitutions(record, motifs)
            changes = trees.changes(given[read], changed[read].reshape(len(read), -1))
            effects.append(changes.reshape(4, -1).T / len(self.trees))
        return effects

    def _state(self) -> State:
        settings = {"labels": list(self.matrices.labels), "seeds": len(self.trees)}
        texts = {_file(seed): forest.text for seed, forest in enumerate(self.trees)}
        return State(
            settings, {"values": self.matrices.values, "widths": self.matrices.widths}, texts
        )

    def _restore(self, state: State) -> None:
        self.matrices = ScoreMatrices(
            tuple(state.settings["labels"]), state.arrays["values"], state.arrays["widths"]
        )
        texts = [state.texts[_file(seed)] for seed in range(state.settings["seeds"])]
        self.trees = [Forest.read(text) for text in texts]
        if not self.trees or any(
            forest.num_features != 2 * len(self.matrices) for forest in self.trees
        ):
            raise ValueError(f"trees must read {2 * len(self.matrices)} scores")


def _file(seed: int) -> str:
    return f"trees_{seed}.txt"
