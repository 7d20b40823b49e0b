"""Evaluates a model on a text: nats, perplexity, bits per character."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from transformers import GPT2LMHeadModel

from training.windows import Tokens


@dataclass(frozen=True)
class Score:
    """Sum of nats over a text, and what it is shared among."""

    nats: float
    tokens: int
    characters: int

    @property
    def perplexity(self) -> float:
        """Per token."""
        return math.exp(self.nats / self.tokens)

    @property
    def bits_per_character(self) -> float:
        """Independent of the vocabulary, so models of different tokenizers compare."""
        return self.nats / math.log(2) / self.characters


def score(
    model: GPT2LMHeadModel, chunks: list[Tokens], characters: int, window: int, rows: int = 8
) -> Score:
    """Predict every token of every chunk but its first, in windows laid end to end.

    Each chunk starts with ``<|endoftext|>``, so every token of the text itself is predicted. All
    chunks run as one stream, as in training.
    """
    stream = np.concatenate(chunks).astype(np.int64)
    nats, tokens = 0.0, len(stream) - 1
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    whole = tokens // window * window
    ids = torch.from_numpy(stream[: whole + 1])
    inputs_of, targets_of = ids[:-1].view(-1, window), ids[1:].view(-1, window)
    batches = [
        (inputs_of[row : row + rows], targets_of[row : row + rows])
        for row in range(0, len(inputs_of), rows)
    ]
    if whole < tokens:
        rest = torch.from_numpy(stream[whole:])
        batches.append((rest[None, :-1], rest[None, 1:]))
    with torch.no_grad():
        for inputs, targets in batches:
            logits = model(input_ids=inputs.to(device), use_cache=False).logits.float()
            loss = F.cross_entropy(
                logits.flatten(0, 1), targets.to(device).flatten(), reduction="sum"
            )
            nats += loss.item()
    model.train(was_training)
    return Score(nats, tokens, characters)
