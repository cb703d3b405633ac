"""The run file: one TOML file per task, read once into immutable models that describe a run.

This package defines defaults, ranges, suggestions for misspelled keys, and how a variant modifies
the run. It imports only errors and file names. Each table of the run file has a module; rules about
combinations of tables are in `rules`. The defaults are those of `workflows/tasks/promoter.toml`,
except `attention_dropout`, so a run file only needs [data].
"""

from selfattn_bio.config.attention import (
    AlibiPosition,
    AnyMixer,
    AnyPattern,
    AnyPosition,
    BigBirdPattern,
    BlockLocalPattern,
    DynamicMixer,
    FullPattern,
    HierarchicalMixer,
    LearnedPosition,
    NoPositionSection,
    RotaryPosition,
    ShawPosition,
    SinusoidalPosition,
    SoftmaxMixer,
    StridedPattern,
    T5Position,
    TransformerXLPosition,
    WindowPattern,
)
from selfattn_bio.config.data import Data
from selfattn_bio.config.genome import (
    CenteredWindows,
    FeatureTrack,
    FlankedWindows,
    LetterTrack,
    MatchedNegatives,
    NegativesSection,
    NeighbourNegatives,
    NumberTrack,
    OverlapLabels,
    ScoreLabels,
    ShuffledNegatives,
    TiledWindows,
    TrackTarget,
    WholeWindows,
)
from selfattn_bio.config.interpret import (
    MOTIF_DATABASES,
    NO_DATABASE,
    AnyCaller,
    AnyMethod,
    BlocksMethod,
    GuidedMethod,
    Interpret,
)
from selfattn_bio.config.kernels import (
    KERNELS,
    SHORT,
    SHORT_JOINED,
    Capabilities,
    PatternShape,
)
from selfattn_bio.config.model import (
    AnyModel,
    AttentionModel,
    ClsHeadSection,
    CnnModel,
    DilatedModel,
    ModuleModel,
    PairedModel,
    PoolingHeadSection,
)
from selfattn_bio.config.objective import (
    AnyObjective,
    BinaryObjective,
    BinsObjective,
    CausalObjective,
    LabelsObjective,
    MaskedObjective,
    MulticlassObjective,
    MulticlassPart,
    MultilabelObjective,
    MultilabelPart,
    RegressionObjective,
    RegressionPart,
    SeveralObjective,
)
from selfattn_bio.config.partner import Partner, SequencePartner, TrackPartner
from selfattn_bio.config.reading import check_files, place_of, read_run_file, run_file_of
from selfattn_bio.config.run import RunFile
from selfattn_bio.config.section import did_you_mean
from selfattn_bio.config.split import (
    AnySplit,
    Audit,
    ChromosomeSplit,
    ClusterSplit,
    ColumnSplit,
    FilesSplit,
    GroupSplit,
    RandomSplit,
    RegionSplit,
    SpeciesSplit,
    SplitValues,
    regions,
)
from selfattn_bio.config.stack import StackSection
from selfattn_bio.config.stem import (
    AnyStem,
    ConvStemSection,
    NoStemSection,
    Tokens,
    TowerStemSection,
)
from selfattn_bio.config.sweep import Job
from selfattn_bio.config.training import (
    PRIVATE_STEM,
    AnyBalance,
    EvaluationSection,
    Privacy,
    ReweightBalance,
    SampleBalance,
    Training,
    Transfer,
)
