"""Objectives: one file per kind of question, with everything that depends on the kind.

All modules of this package are imported here, so that their classes are registered.
`objective_of(section)` returns the objective of a section [objective].
"""

from importlib import import_module
from pkgutil import iter_modules

from selfattn_bio.objectives.base import OBJECTIVES, Objective, objective_of
from selfattn_bio.objectives.loss import Loss

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)
