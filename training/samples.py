"""Documents a model writes, and what can be counted on them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import GenerationConfig, GPT2LMHeadModel, PreTrainedTokenizerFast

_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen where a request does not say."""

    temperature: float = 0.8
    top_p: float = 0.95
    repetition_penalty: float = 1.1

    def as_dict(self) -> dict[str, float]:
        """For JSON and for keyword arguments."""
        return asdict(self)

    def generation_config(self, end: int) -> GenerationConfig:
        """The checkpoint's ``generation_config.json``."""
        return GenerationConfig(
            do_sample=True,
            top_k=0,
            bos_token_id=end,
            eos_token_id=end,
            pad_token_id=end,
            use_cache=True,  # else transformers takes what training left, and reads all anew
            **self.as_dict(),
        )


def write(
    model: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    tokens: int,
    seed: int,
) -> list[list[int]]:
    """Continue prompts of one length by up to ``tokens`` ids; leaves the random state alone.

    What the context cannot hold is left away: the start of a prompt, the end of a text.
    """
    end = int(model.config.eos_token_id)
    context = int(model.config.n_positions)
    ids = torch.tensor(prompts, device=model.device)[:, -(context // 2) :]
    was_training = model.training
    model.eval()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        config: Any = sampling.generation_config(end)
        config.max_new_tokens = min(tokens, context - ids.shape[1])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
    model.train(was_training)
    written = [row[ids.shape[1] :].tolist() for row in out]
    return [row[: row.index(end)] if end in row else row for row in written]


def continue_text(
    model: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerFast,
    prompt: str,
    sampling: Sampling,
    tokens: int,
    seed: int,
) -> str:
    """The continuation of one prompt as text."""
    ids = tokenizer.encode(prompt, add_special_tokens=False)
    ids = ids or [int(model.config.bos_token_id)]
    return str(tokenizer.decode(write(model, tokenizer, [ids], sampling, tokens, seed)[0]))


def distinct_4grams(ids: Sequence[int]) -> float:
    """Share of the 4-grams of a text that occur once each; a loop brings it down."""
    grams = list(zip(ids, ids[1:], ids[2:], ids[3:], strict=False))
    return len(set(grams)) / len(grams) if grams else 1.0


def closed_quotes(text: str) -> float:
    """Share of the paragraphs with speech, the last aside, that close as many quotes as opened."""
    paragraphs = text.replace("\u201c", '"').replace("\u201d", '"').split("\n\n")[:-1]
    spoken = [paragraph for paragraph in paragraphs if '"' in paragraph]
    if not spoken:
        return 1.0
    return sum(paragraph.count('"') % 2 == 0 for paragraph in spoken) / len(spoken)


def word_trigrams(text: str) -> list[tuple[str, str, str]]:
    """Runs of three words or punctuation marks, in lower case."""
    words = _WORD.findall(text.lower())
    return list(zip(words, words[1:], words[2:], strict=False))


def known_trigrams(chunks: Iterable[str]) -> set[tuple[str, str, str]]:
    """All word trigrams of a text."""
    return {trigram for chunk in chunks for trigram in word_trigrams(chunk)}
