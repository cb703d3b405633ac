"""Objectives: one file per kind of question, with everything that depends on the kind.

`objective_of(section)` returns the objective of a section [objective].
"""

from selfattn_bio.objectives.base import OBJECTIVES, Objective, objective_of
from selfattn_bio.objectives.binary import Binary
from selfattn_bio.objectives.bins import BinsOfPoints
from selfattn_bio.objectives.labels import Labels
from selfattn_bio.objectives.language import Causal, Masked
from selfattn_bio.objectives.loss import Loss
from selfattn_bio.objectives.multiclass import Multiclass
from selfattn_bio.objectives.multilabel import Multilabel
from selfattn_bio.objectives.regression import Regression
from selfattn_bio.objectives.several import Several

OBJECTIVES |= {
    "binary": Binary,
    "multiclass": Multiclass,
    "multilabel": Multilabel,
    "regression": Regression,
    "several": Several,
    "labels": Labels,
    "bins": BinsOfPoints,
    "masked": Masked,
    "causal": Causal,
}

__all__ = ["OBJECTIVES", "Loss", "Objective", "objective_of"]
