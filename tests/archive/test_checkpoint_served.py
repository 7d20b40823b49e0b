"""GPT-2s of other shapes: what the engine writes in fp32 is what `transformers` computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from archive.checkpoint import open_checkpoint
from archive.hub import find_checkpoint
from archive.package import stage
from archive.packing import Target
from archive.settings import Settings
from tests.archive.served import SHAPES, Shape
from tests.archive.test_checkpoint_layouts import put_tokenizer
from tests.archive.test_generation import PROMPTS, tokens
from tests.archive.tiny import Arrays, Json, full, tiny_config, tiny_weights
from tests.handler.engines import Rig

TOKENS = 8


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_greedy_texts_are_those_of_transformers(tmp_path: Path, shape: Shape) -> None:
    directory, config = tmp_path / "model", tiny_config(**shape.config)
    directory.mkdir()
    put_tokenizer(directory)
    weights = loud(tiny_weights(directory, **shape.config))
    shape.write(directory, weights)
    rig = Rig(staged(tmp_path, directory / shape.file, shape.remark), threads=1)
    try:
        prompts = [rig.vocabulary.encode(text) or [rig.metadata.bos_token] for text in PROMPTS]
        sequences = [rig.sequence(ids, max_tokens=TOKENS, logprobs=0) for ids in prompts]
        texts = rig.write(*sequences)
    finally:
        rig.close()
    for text, (expected, logprobs) in zip(
        texts, greedy(config, shape.means(weights), prompts), strict=True
    ):
        assert tokens(text) == expected
        found = [entry.logprob.logprob for entry in text.logprobs if entry.logprob is not None]
        assert found == pytest.approx(logprobs, abs=shape.near)


def loud(weights: Arrays) -> Arrays:
    """Weights that are large enough for one activation to differ from the next."""
    matrices = (".attn.c_", ".mlp.c_")
    return {
        name: weight * 8 if any(part in name for part in matrices) else weight
        for name, weight in weights.items()
    }


def staged(directory: Path, model: Path, remark: str) -> Path:
    """What packing puts into an archive of a checkpoint, in fp32."""
    source = find_checkpoint(str(model))
    checkpoint = open_checkpoint(source.path, source.name, source.tokenizer, source.base)
    assert remark in " ".join(checkpoint.remarks)
    content = directory / "content"
    (content / "model").mkdir(parents=True)
    settings = Settings(str(model), Target("tales", "1.0", directory), precision="fp32")
    stage(settings, checkpoint, content)
    return content


def greedy(
    config: Json, weights: Arrays, prompts: list[list[int]]
) -> list[tuple[list[int], list[float]]]:
    """The likeliest tokens behind each prompt and their log probabilities, by the plain model."""
    tied = "lm_head.weight" not in weights
    model = GPT2LMHeadModel(GPT2Config(**config | {"tie_word_embeddings": tied})).eval()
    state = {name: torch.tensor(weight) for name, weight in full(weights).items()}
    state.setdefault("lm_head.weight", state["transformer.wte.weight"])
    model.load_state_dict(state)
    written = []
    for prompt in prompts:
        ids, logprobs = list(prompt), []
        with torch.inference_mode():
            for _ in range(TOKENS):
                last = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
                ids.append(int(last.argmax()))
                logprobs.append(float(last.max()))
                if ids[-1] == config["eos_token_id"]:
                    break
        written.append((ids[len(prompt) :], logprobs))
    return written
