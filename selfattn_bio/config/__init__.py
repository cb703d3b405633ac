"""The run file: one TOML file per task, read once into immutable models that describe a run.

This package defines defaults, ranges, suggestions for misspelled keys, and how a variant modifies
the run. It imports only errors and file names. Each table of the run file has a module; rules about
combinations of tables are in `rules`. The defaults are those of `workflows/tasks/promoter.toml`,
except `attention_dropout`, so a run file only needs [data]. All names of the modules can be
imported from here.
"""

from selfattn_bio.config.attention import *
from selfattn_bio.config.data import *
from selfattn_bio.config.derived import *
from selfattn_bio.config.genome import *
from selfattn_bio.config.interpret import *
from selfattn_bio.config.kernels import *
from selfattn_bio.config.model import *
from selfattn_bio.config.objective import *
from selfattn_bio.config.pretrained import *
from selfattn_bio.config.reading import *
from selfattn_bio.config.run import *
from selfattn_bio.config.section import *
from selfattn_bio.config.split import *
from selfattn_bio.config.training import *
