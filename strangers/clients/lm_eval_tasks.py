"""EleutherAI's lm-evaluation-harness: over HTTP, beside the same model in transformers.

A task of choices, one of generation and one of rolling perplexity, made here of the model's own
words; every number that comes over HTTP has to be the one that transformers computes.
"""

import json
import os
import tempfile
from pathlib import Path

from common import MODEL, MODEL_DIRECTORY, URL, main

for name in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
    os.environ[name] = "1"
os.environ["OPENAI_API_KEY"] = "none"

CLOSE = 2e-3
QUESTIONS = [
    {"question": "Once upon a time there was a", "choices": [" king", " of", " the and"]},
    {"question": "The fox said to the", "choices": [" cat", " because", " is"]},
    {
        "question": "He went into the wood and",
        "choices": [" found a house", " a the", " in"],
    },
    {"question": "“Good morning,” said the", "choices": [" old woman", "<|endoftext|>", " é"]},
]
TALES = ["The king had a daughter. " * 5, "There was once a poor man who lived by the sea. " * 60]
TASKS = {
    "choices": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": 0,
        "target_delimiter": "",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "generation": {
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "nothing",
        "generation_kwargs": {
            "until": ["\n", "."],
            "max_gen_toks": 12,
            "temperature": 0,
            "repetition_penalty": 1.0,  # transformers takes the checkpoint's; we, greedy, do not
        },
        "metric_list": [{"metric": "exact_match"}],
    },
    "rolling": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{question}}",
        "metric_list": [{"metric": "bits_per_byte"}, {"metric": "word_perplexity"}],
    },
}


def _written(folder: Path) -> None:
    """The tasks and their texts, as files."""
    tales = [{"question": text, "choices": []} for text in TALES]
    for name, task in TASKS.items():
        lines = tales if name == "rolling" else QUESTIONS
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(line) + "\n" for line in lines))
        about = {"task": f"tales_{name}", "dataset_path": "json", "test_split": "test", **task}
        about["dataset_kwargs"] = {"data_files": {"test": str(data)}}
        (folder / f"{name}.yaml").write_text(json.dumps(about))


def _flat(found: object) -> list:
    """Numbers and texts of what was answered, in order."""
    if isinstance(found, (list, tuple)):
        return [each for part in found for each in _flat(part)]
    return [found]


def run() -> None:
    """Evaluate both, and hold every answer of one against the other's."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    with tempfile.TemporaryDirectory() as folder:
        _written(Path(folder))
        common = {
            "tasks": [f"tales_{name}" for name in TASKS],
            "task_manager": TaskManager(include_path=folder),
            "bootstrap_iters": 0,
        }
        served = {
            "model": MODEL,
            "base_url": f"{URL}/v1/completions",
            "tokenizer": MODEL_DIRECTORY,
            "max_length": 512,
            "num_concurrent": 2,
        }
        local = {"pretrained": MODEL_DIRECTORY, "dtype": "float32", "device": "cpu"}
        over_http = simple_evaluate(model="local-completions", model_args=served, **common)
        judge = simple_evaluate(model="hf", model_args=local, **common)
    for task, samples in judge["samples"].items():
        for right, sample in zip(samples, over_http["samples"][task], strict=True):
            answers = (_flat(each["filtered_resps"]) for each in (right, sample))
            pairs = zip(*answers, strict=True)
            for expected, got in pairs:
                is_number = isinstance(expected, float)
                is_close = is_number and abs(expected - got) <= CLOSE * max(1, abs(expected))
                assert is_close or expected == got, (task, right["doc"], expected, got)


main(run)
