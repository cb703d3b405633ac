"""Networks that read one-hot sequences, for tools such as tangermeme, Captum and Ledidi."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from selfattn_bio.errors import ArgumentError
from selfattn_bio.model.classifier import Network
from selfattn_bio.sequence.kmers import PAD, SPECIAL, UNK, KmerTokenizer


class OneHotNetwork(nn.Module):
    """Map one-hot sequences to the outputs of a network, with a gradient.

    A token is embedded as the mean of all k-mers, weighted by the product of the values of their
    letters. For a one-hot sequence this is the embedding of its k-mer. The gradient is therefore
    defined at every letter, and other values may be probabilities of letters. Weights that do not
    sum to 1 are completed with the unknown token: a column of zeros is an unknown letter, as N.

    Parameters
    ----------
    networks
        Networks with the same embeddings. Their outputs are summarised, then averaged.
    tokenizer
        Tokenizer of the networks.
    of_records
        Function from the outputs of a network and tokens (B, N) to (B, C).
    mean_of_strands
        Whether to average over both strands of DNA.
    """

    def __init__(
        self,
        networks: Iterable[Network],
        tokenizer: KmerTokenizer,
        of_records: Callable[[Tensor, Tensor], Tensor],
        *,
        mean_of_strands: bool,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.tokenizer, self.of_records = tokenizer, of_records
        self.mean_of_strands = mean_of_strands

    def forward(self, x: Tensor) -> Tensor:
        """Map sequences (B, A, L) of A letters, without padding, to outputs (B, C).

        Raises
        ------
        ArgumentError
            If the shape is another one, or L is less than k.
        """
        size, k = len(self.tokenizer.alphabet.letters), self.tokenizer.k
        if x.ndim != 3 or x.shape[1] != size or x.shape[2] < k:
            raise ArgumentError(
                f"the input has shape {tuple(x.shape)}; expected (sequences, {size}, length), with "
                f"length at least {k}"
            )
        # the alphabet reversed is its complement
        strands = (x, x.flip(1, 2)) if self.mean_of_strands else (x,)
        # one pass per strand, because DeepLIFT pairs the two halves of a batch
        return torch.stack([self._of_strand(strand) for strand in strands]).mean(0)

    def _of_strand(self, x: Tensor) -> Tensor:
        vocabulary = torch.arange(self.tokenizer.vocabulary_size, device=x.device)
        table = self.networks[0].embed(vocabulary[None])[0]  # type: ignore[operator]  # (V, D)
        weights = self._kmers(x.to(table.dtype))
        unknown = 1 - weights.sum(-1, keepdim=True)
        embeddings = weights @ table[len(SPECIAL) :] + unknown * table[UNK]  # (B, N, D)
        tokens = torch.full(embeddings.shape[:2], UNK, device=x.device)  # none is padding
        outputs = [
            self.of_records(network.classify(embeddings, tokens != PAD), tokens)  # type: ignore[operator]
            for network in self.networks
        ]
        return torch.stack(outputs).mean(0)

    def _kmers(self, x: Tensor) -> Tensor:
        """Return the weight of each k-mer at each token, from (B, A, L) to (B, N, A^k)."""
        stride = self.tokenizer.stride
        span = (self.tokenizer.num_tokens(x.shape[2]) - 1) * stride + 1
        letters = [x[:, :, i : i + span : stride].transpose(1, 2) for i in range(self.tokenizer.k)]
        weights = letters[0]
        for letter in letters[1:]:
            weights = (weights[..., None] * letter[..., None, :]).flatten(2)
        return weights


class MeanNetwork(nn.Module):
    """Average the outputs of several networks with the same input."""

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        """Map the input of the networks to the mean of their outputs."""
        return torch.stack([network(x) for network in self.networks]).mean(0)
