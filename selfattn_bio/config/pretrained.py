"""[model] kind = "pretrained", and which weights of a trained network are trained further."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from selfattn_bio.config.section import Fraction, Section, Size


class Adaptation(Section):
    """Which weights of a trained network are trained further, and how fast.

    Attributes
    ----------
    adapt
        trained parts: all; frozen = the head; gradual = the head, then one more layer every
        unfreeze_every steps; lora = head and LoRA
    unfreeze_every
        steps between layers, for gradual
    layer_decay
        factor of the learning rate from each layer to the one below, starting at the head
    lora_rank
        rank of the added matrices, for lora
    """

    adapt: Literal["all", "frozen", "gradual", "lora"] = "all"
    unfreeze_every: Size = 200
    layer_decay: float = Field(1.0, gt=0, le=1)
    lora_rank: Size = 8


class PretrainedModel(Adaptation):
    """[model] kind = "pretrained": a published language model with a new head.

    Attributes
    ----------
    folder
        folder with config.json, safetensors and the files of the tokenizer
    weights
        folder = those of the folder; random = the same network untrained, as a control
    dropout
        dropout of the head
    """

    kind: Literal["pretrained"] = "pretrained"
    folder: str = Field(min_length=1)
    weights: Literal["folder", "random"] = "folder"
    adapt: Literal["all", "frozen", "gradual", "lora"] = "lora"
    dropout: Fraction = 0.1

    members: ClassVar[int] = 1  # as in ModuleModel
