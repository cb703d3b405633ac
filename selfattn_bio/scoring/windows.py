"""Read a genome in windows: their size, and outputs of overlapping ones that share work.

A convolutional stem gives the same vectors in every window that contains a position, except near
the ends of a window. `Scorer.outputs` on each window gives the same numbers up to rounding.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from selfattn_bio import config
from selfattn_bio.arrays import Floats
from selfattn_bio.errors import ArgumentError, ModelFolderError
from selfattn_bio.log import LOG
from selfattn_bio.model import stem
from selfattn_bio.model.classifier import AttentionBody, Network
from selfattn_bio.model.convolution import LARGEST, EmbeddedTokens
from selfattn_bio.objectives.profile import expected_counts
from selfattn_bio.scoring.loading import Models, load
from selfattn_bio.scoring.paired_scorer import check_one_input
from selfattn_bio.scoring.scorer import Ensemble, Scorer
from selfattn_bio.sequence.alphabet import DNA, Ascii
from selfattn_bio.sequence.genome import Genome

T = TypeVar("T")
# Windows per pass of the encoder. Each pass has fixed costs: 128 take an eighth longer.
BATCH = 256


@dataclass(frozen=True)
class GenomeWindows:
    """Windows of `size` bp, one every `stride` bp: [0, size), [stride, stride + size), ...

    Raises
    ------
    ValueError
        If the stride is not between 1 and `size`. A larger stride would leave gaps between windows.
    """

    size: int
    stride: int

    def __post_init__(self) -> None:
        if not 1 <= self.stride <= self.size:
            message = f"stride {self.stride} is not between 1 and the window size of {self.size} bp"
            raise ArgumentError(message)

    def number(self, length: int) -> int:
        """Return the number of windows in a sequence of `length` bp."""
        return max(0, (length - self.size) // self.stride + 1)

    def span(self, number: int) -> int:
        """Return the distance in bp from the start of the first to the end of the last window."""
        return (number - 1) * self.stride + self.size


def load_dna_model(model: Models, allowed: Collection[str] = (DNA.family,)) -> Scorer | Ensemble:
    """Load a model that scores windows of a genome; a loaded model is accepted as well.

    `allowed` names the families of the alphabets that it may read.

    Raises
    ------
    ModelFolderError
        As for `load`, or if the model reads another alphabet or does not score sequences.
    ArgumentError
        If the model has two inputs, or is a baseline.
    """
    scorer = load(model)
    kind = scorer.run.objective.kind  # a baseline has no run file, and raises
    check_one_input(scorer, "scoring a genome")
    place = str(scorer.members[0].folder or "")
    if scorer.alphabet.family not in allowed:
        message = f"windows of a genome need a model of DNA; this one reads {scorer.alphabet.name}"
        hint = "Score substitutions in a protein with `variants --region ID` or score_substitutions"
        raise ModelFolderError(message, place=place, hint=hint)
    if not scorer.objective.outputs:
        ModelFolderError.fail(f"a model of objective {kind!r} does not score sequences", place)
    return scorer


def window_size(scorer: Scorer | Ensemble, requested: int | None) -> int:
    """Return the requested window, or the length of the training records of the first member.

    Raises
    ------
    ArgumentError
        If neither is known, or a model needs longer windows.
    """
    size = scorer.members[0].record_length if requested is None else requested
    if size is None:
        raise ArgumentError(
            "the window size is unknown: the model does not store the length of its training "
            "records",
            hint="Set window of Scan or VariantOptions in Python",
        )
    if size < (least := max(member.shortest for member in scorer.members)):
        unit = scorer.alphabet.unit
        raise ArgumentError(f"a window of {size} {unit} is too short; the model needs {least}")
    return size


def prior_shift(scorer: Scorer | Ensemble, prior: float | None) -> float:
    """Return the shift of the log-odds of a binary model for a prior (`Calibration.shift`).

    Raises
    ------
    ArgumentError
        If there is a prior for another model, or as for `Calibration.shift`.
    """
    if prior is not None and not scorer.objective.has_log_odds:
        raise ArgumentError(
            "prior is for the probabilities of a binary model; this one has objective "
            f"{scorer.objective.kind!r}",
            hint="Leave the prior out; in a scan, choose a high threshold instead",
        )
    return scorer.calibration.shift(prior)


def assembly_of(genome: Genome) -> str:
    """Return the default assembly name: the genome's file name up to the first dot."""
    return genome.path.name.split(".")[0]


def warn_of_other_assembly(scorer: Scorer | Ensemble, name: str) -> None:
    """Log a warning if a genome's name differs from the assembly of the training records."""
    if (own := scorer.run.data.assembly) not in ("", name):
        LOG.warning(f"the model was trained on {own!r}, but the genome is named {name!r}")


def strand_outputs(scorer: Scorer | Ensemble, letters: Ascii, windows: GenomeWindows) -> Floats:
    """Return the outputs of all windows on both strands, averaged over the members of an ensemble.

    Parameters
    ----------
    scorer
        A model of DNA with outputs of complete records, or an ensemble.
    letters
        ASCII DNA of the forward strand, (L,). The last window must end at the last position.
    windows
        Size and stride of the windows.

    Returns
    -------
    (2, n, C): row 0 for the forward strand, row 1 for the reverse complements, both in the order of
    the forward strand. (1, n, C) if the model reads both strands.

    Raises
    ------
    ValueError
        If the last window does not end at the last position, or the alphabet has no complement.
    """
    if (number := windows.number(len(letters))) == 0 or windows.span(number) != len(letters):
        raise ValueError(
            f"{len(letters)} bases do not end with a window of {windows.size} bp at a stride of "
            f"{windows.stride} bp"
        )
    other = scorer.alphabet.reverse_complement(letters)
    # ensembles may have members that read both strands and others that do not
    strands = np.ones((1 if scorer.both_strands else 2, 1, 1))
    each = [strands * _member_outputs(member, letters, other, windows) for member in scorer.members]
    return np.mean(each, axis=0)


def _member_outputs(scorer: Scorer, letters: Ascii, other: Ascii, windows: GenomeWindows) -> Floats:
    """Return the outputs of one model on each strand, (2, n, C).

    (1, n, C) if the model reads both strands.
    """
    if (shared := SharedStem.of(scorer, windows)) is not None:
        strands = np.stack([shared.outputs(scorer, letters), shared.outputs(scorer, other)[::-1]])
        network = strands.mean(axis=0, keepdims=True) if scorer.both_strands else strands
        if scorer.stack is None:
            return network
        return scorer.stack.window_outputs(network, letters, windows.size, windows.stride)
    given = _outputs(scorer, letters, windows)  # the mean over both strands if the model reads both
    if scorer.both_strands:
        return given[None]
    return np.stack([given, _outputs(scorer, other, windows)[::-1]])


def _outputs(scorer: Scorer, letters: Ascii, windows: GenomeWindows) -> Floats:
    """Return the outputs (n, C) of one model, computed separately for each window."""
    views = sliding_window_view(letters, windows.size)[:: windows.stride]
    return np.concatenate(
        [scorer.outputs(views[start : start + BATCH]) for start in range(0, len(views), BATCH)]
    )


def position_outputs(scorer: Scorer | Ensemble, letters: Ascii) -> Floats:
    """Return the outputs per position or bin of a sequence, averaged over the members.

    Returns
    -------
    (2, n, C): row 0 for the forward strand, row 1 for the reverse complement, both in the order of
    the forward strand. (1, n, C) for bins, whose outputs name their strand.
    """

    def read(strand: Ascii) -> Floats:
        of_members = [scorer.objective.read(member, [strand])[0] for member in scorer.members]
        return np.mean(of_members, axis=0)

    if scorer.objective.section.is_per_bin:
        return read(letters)[None]
    return np.stack([read(letters), read(scorer.alphabet.reverse_complement(letters))[::-1]])


def base_outputs(scorer: Scorer | Ensemble, letters: Ascii, size: int, before: int) -> Floats:
    """Return the expected counts of bases, averaged over the members of an ensemble.

    Windows of `size` bp overlap so that their middles touch.

    Returns
    -------
    (S, n, T) for S strands and T tracks, in the order of the forward strand, from base `before`.
    """
    section = scorer.objective.section
    views = list(sliding_window_view(letters, size)[:: section.width])
    outputs = np.mean([scorer.objective.read(each, views) for each in scorer.members], axis=0)
    counts = expected_counts(outputs)  # (n, S W, T)
    counts = counts.reshape(len(views), section.num_strands, section.width, -1).swapaxes(0, 1)
    return counts.reshape(section.num_strands, -1, counts.shape[-1])[
        :, before - (size - section.width) // 2 :
    ]


@dataclass(frozen=True)
class SharedStem:
    """Positions of a convolutional stem's vectors in a window.

    Vectors that depend on the ends of a window are computed for each window. All others are shared.
    For example, a window of 300 bp has 298 3-mers. With kernel 9 and pooling 8 these become 38
    detector vectors; 1 at the start and 2 at the end depend on the ends of the window. With second
    kernel 5, so do 3 and 4 of the 38 output vectors.

    Attributes
    ----------
    num_tokens, step
        Tokens of a window, and tokens between the starts of neighbouring windows.
    size
        Vectors of a window.
    pool
        Tokens per vector.
    edges
        Number of detector vectors that depend on the start and on the end of the window.
    margin
        Number of neighbouring vectors on each side that the second convolution combines.
    """

    num_tokens: int
    step: int
    size: int
    pool: int
    edges: tuple[int, int]
    margin: int

    @classmethod
    def of(cls, scorer: Scorer, windows: GenomeWindows) -> SharedStem | None:
        """Return the layout for a model, or None if windows cannot share vectors.

        That is the case without a convolutional stem, if the stride is not a multiple of its
        pooling, if the stem normalises each record, or if windows are too short.
        """
        tokenizer, section = scorer.tokenizer, scorer.run.model
        if (
            not isinstance(section, config.AttentionModel)
            or not isinstance(section.stem, config.ConvStemSection)
            or windows.stride % unit(scorer)
            or section.stem.norm == "record"  # depends on the complete window
        ):
            return None
        num_tokens, pool = tokenizer.num_tokens(windows.size), section.stem.pool
        half, margin = section.stem.kernel // 2, section.stem.second_kernel // 2
        size = -(-num_tokens // pool)
        edges = -(-half // pool), size - (num_tokens - half) // pool
        if half == 0 or size < 2 * (sum(edges) + 2 * margin):
            return None
        return cls(num_tokens, windows.stride // tokenizer.stride, size, pool, edges, margin)

    def outputs(self, scorer: Scorer, letters: Ascii) -> Floats:
        """Return the network's outputs (n, C) of the windows of a sequence.

        The sequence ends with the last window. A stack is not included.
        """
        with torch.inference_mode():
            tokens = scorer.tokens(letters[None])[0]
            of_members = []
            for member in scorer.network.members:
                assert isinstance(member, AttentionBody)
                assert isinstance(member.stem, stem.ConvStem)
                batches = self._stems(tokens, scorer.network, member.stem)
                of_members.append(torch.cat([_after_stem(member, x) for x in batches]))
            return torch.stack(of_members).double().mean(0).cpu().numpy()

    def _stems(self, tokens: Tensor, network: Network, convolve: stem.ConvStem) -> Iterator[Tensor]:
        """Yield the stem's output for each window, (B, M, D), in batches.

        `tokens` (N,) are those of the complete sequence.
        """
        first, last = self.edges
        hop, before, after = self.step // self.pool, first + self.margin, last + self.margin
        detected = _detected(convolve, network, tokens[None])  # (1, D, P)
        combined = _combined(convolve, detected)[0]  # (P, D)
        own = tokens.unfold(0, self.num_tokens, self.step)  # (n, tokens)
        detectors = detected[0].unfold(1, self.size, hop).transpose(0, 1)  # (n, D, M)
        vectors = combined.unfold(0, self.size, hop).transpose(1, 2)  # (n, M, D)
        for start in range(0, len(own), BATCH):
            rows = slice(start, start + BATCH)
            x = vectors[rows].clone(memory_format=torch.contiguous_format)
            left = detectors[rows, :, : before + self.margin].clone()
            head = own[rows, : 2 * first * self.pool]
            left[..., :first] = _detected(convolve, network, head)[..., :first]
            x[:, :before] = _combined(convolve, left)[:, :before]
            right = detectors[rows, :, -after - self.margin :].clone()
            tail = own[rows, (self.size - last - first) * self.pool :]
            right[..., -last:] = _detected(convolve, network, tail)[..., -last:]
            x[:, -after:] = _combined(convolve, right)[:, -after:]
            yield x


def _detected(convolve: stem.ConvStem, network: Network, tokens: Tensor) -> Tensor:
    """Apply the first convolution to tokens (B, N) without padding; return (B, D, M)."""
    size = network.embedding.num_embeddings
    x: Tensor | EmbeddedTokens  # of the given strand only
    if tokens.device.type == "cpu" and size <= LARGEST:
        x = EmbeddedTokens(tokens, network.embedding(torch.arange(size)))
    else:
        x = network.embedding(tokens)
    return convolve.detected(x, torch.ones_like(tokens, dtype=torch.bool))[0]


def _combined(convolve: stem.ConvStem, x: Tensor) -> Tensor:
    """Apply the second convolution to x (B, D, M) without padding; return (B, M, D)."""
    return convolve.combined(x, x.new_ones(len(x), x.shape[2], dtype=torch.bool))[0]


def _after_stem(member: AttentionBody, x: Tensor) -> Tensor:
    """Apply the layers after the stem to x (B, M, D); return (B, C)."""
    return member.after_stem(x, x.new_ones(x.shape[:2], dtype=torch.bool))


def unit(scorer: Scorer | Ensemble) -> int:
    """Return the number of bp that the stride must be a multiple of to share stem vectors."""
    return int(np.lcm.reduce([member.run.output_stride for member in scorer.members]))


# ------------ threads
def in_threads(
    compute: Callable[..., T], arguments: Iterable[tuple[object, ...]], threads: int
) -> Iterator[T]:
    """Yield `compute(*each)` for the arguments in order, computed by several threads.

    Batches of windows are small, so threads that share one batch wait for each other.
    With one thread everything runs in the calling thread. Otherwise `threads` results are computed
    ahead, and torch uses one thread for each.

    Parameters
    ----------
    compute
        A function that releases the lock of the interpreter most of the time, as torch does.
    arguments
        Read in the calling thread.
    threads
        Number of threads, at least 1.
    """
    if threads == 1:
        yield from (compute(*each) for each in arguments)
        return
    before, running = torch.get_num_threads(), deque[Future[T]]()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(threads)
    try:
        for each in arguments:
            running.append(pool.submit(compute, *each))
            if len(running) > threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)
