"""Gradient boosting on the scores of known motifs."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from selfattn_bio.baselines.base import Baseline, Labels, Logits, Setup, State, sample_rows
from selfattn_bio.baselines.forest import LEAF, Forest
from selfattn_bio.config import NO_DATABASE
from selfattn_bio.motifs import open_database
from selfattn_bio.motifs.scores import HIGHEST, LOWEST, ScoreMatrices
from selfattn_bio.sequence.alphabet import Letters
from selfattn_bio.stored import ArrayOf

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


class MotifState(State):
    """Motifs, and the nodes of the trees of all seeds, see `Forest`."""

    labels: Annotated[list[str], Field(min_length=1)]
    log_odds: Annotated[
        NDArray[np.float32], ArrayOf("float32", ("motifs", "positions", 4), LOWEST, HIGHEST)
    ]
    widths: Annotated[NDArray[np.int64], ArrayOf("int64", ("motifs",), low=1)]
    num_nodes: Annotated[NDArray[np.int64], ArrayOf("int64", ("seeds",), low=1)]
    features: Annotated[NDArray[np.int64], ArrayOf("int64", ("nodes",), low=LEAF)]
    values: Annotated[NDArray[np.float64], ArrayOf("float64", ("nodes",))]


class MotifScores(Baseline):
    """Gradient boosting on the best hit and occupancy of every motif of a database.

    Both strands are scored. LightGBM stops early on the validation split, and three seeds are
    averaged. A large training split is sampled, so that scoring takes minutes.
    """

    name, title, short_title = "motif_scores", "gradient boosting on motif scores", "motif scores"
    alphabets = ("dna",)
    reads_database = True
    state = MotifState

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
            self.trees.append(Forest.of(booster))

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
    def _all_trees(self) -> Forest:
        features, values = (
            np.concatenate([getattr(forest, name) for forest in self.trees])
            for name in ("features", "values")
        )
        return Forest(2 * len(self.matrices), features, values)

    def _effects(self, letters: Letters) -> list[NDArray[np.float64]]:
        trees, number = self._all_trees, len(self.matrices)
        motifs = np.unique(trees.used % number)
        columns = np.concatenate([motifs, motifs + number])
        read = np.searchsorted(columns, trees.used)
        effects = []
        for record in letters:
            given, changed = self.matrices.score_substitutions(record, motifs)
            changes = trees.changes(given[read], changed[read].reshape(len(read), -1))
            effects.append(changes.reshape(4, -1).T / len(self.trees))
        return effects

    def _state(self) -> MotifState:
        matrices, trees = self.matrices, self._all_trees
        return MotifState(
            labels=list(matrices.labels),
            log_odds=matrices.values,
            widths=matrices.widths,
            num_nodes=np.array([len(forest.features) for forest in self.trees]),
            features=trees.features,
            values=trees.values,
        )

    def _restore(self, state: MotifState) -> None:
        if len(state.labels) != len(state.widths):
            raise ValueError(f"there are {len(state.labels)} labels for {len(state.widths)} motifs")
        if state.widths.max() > (width := state.log_odds.shape[1]):
            raise ValueError(f"widths has {state.widths.max()}, but log_odds has {width} positions")
        sizes = state.num_nodes.tolist()
        if sum(sizes) != len(state.features):
            raise ValueError(f"num_nodes adds up to {sum(sizes)}, not {len(state.features)}")
        self.matrices = ScoreMatrices(tuple(state.labels), state.log_odds, state.widths)
        ends = np.cumsum(sizes)[:-1]
        self.trees = [
            Forest(2 * len(self.matrices), features, values)
            for features, values in zip(
                np.split(state.features, ends), np.split(state.values, ends), strict=True
            )
        ]
