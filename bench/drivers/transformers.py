"""transformers `generate`: one batch, left as it comes out of the box."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bench.drivers.loop import Timeline, serve


class TransformersDriver:
    """Loads the checkpoint in float32, as `from_pretrained` does for GPT-2's."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._torch: Any = import_module("torch")
        self._torch.set_num_threads(options["threads"])
        transformers: Any = import_module("transformers")
        self._model = transformers.GPT2LMHeadModel.from_pretrained(
            options["checkpoint"], dtype=self._torch.float32
        ).eval()
        self._criteria: type = transformers.StoppingCriteria
        self._criteria_list: Any = transformers.StoppingCriteriaList

    def generate(self, prompts: list[list[int]], new_tokens: list[int]) -> dict[str, Any]:
        """Generate all completions in one call of `generate`."""
        torch, criteria = self._torch, self._criteria
        timeline = Timeline(len(prompts))
        everyone = list(range(len(prompts)))

        class Clock(criteria):  # type: ignore[misc, valid-type]
            def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
                timeline.tokens(everyone)
                return torch.zeros(len(everyone), dtype=torch.bool)

        ids = torch.tensor(prompts)
        with torch.inference_mode():
            self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=new_tokens[0],
                min_new_tokens=new_tokens[0],
                do_sample=False,
                pad_token_id=0,
                stopping_criteria=self._criteria_list([Clock()]),
            )
        return timeline.result()

    def negative_log_likelihood(self, window: list[int]) -> float:
        """See `Driver`."""
        torch = self._torch
        ids = torch.tensor([window])
        with torch.inference_mode():
            logits = self._model(ids).logits[0, :-1].double()
        return float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))


if __name__ == "__main__":
    serve(TransformersDriver)
