"""The engine of this project alone, out of an unpacked archive: no TorchServe, no HTTP."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.drivers.loop import Timeline, serve


class EngineDriver:
    """Loads the archive's own code, so that what is measured is what is served."""

    def __init__(self, options: dict[str, Any]) -> None:
        archive = Path(options["archive"])
        sys.path.insert(0, str(archive))
        self._np: Any = import_module("numpy")
        yaml: Any = import_module("yaml")
        model: Any = import_module("handler.engine.model")
        vocabulary: Any = import_module("handler.engine.vocabulary")
        settings_of: Any = import_module("handler.engine.settings").EngineSettings
        self._sequence: Any = import_module("handler.engine.sequence").Sequence
        self._options: Any = import_module("handler.engine.options").SamplingOptions
        self._score: Any = import_module("handler.engine.step").Score
        shipped = yaml.safe_load((archive / "model-config.yaml").read_text())["engine"]
        changes = options.get("settings", {})
        settings = settings_of.from_mapping({**shipped, "threads": options["threads"], **changes})
        shape = model.ModelShape.from_config(
            json.loads((archive / "model" / "config.json").read_text())
        )
        self._vocabulary = vocabulary.Vocabulary.load(
            archive / "model" / "tokenizer.json", shape.vocab_size
        )
        load_model: Any = import_module("handler.engine.loading").load_model
        self._model = load_model(archive / "model", shape, settings)
        self._engine = import_module("handler.engine.engine").Engine(self._model, settings)
        self._engine.start()
        self._requests = 0

    def generate(self, prompts: list[list[int]], new_tokens: list[int]) -> dict[str, Any]:
        """Submit all sequences at once and collect until every one has ended."""
        np = self._np
        timeline = Timeline(len(prompts))
        streams: dict[str, int] = {}
        for stream, (prompt, count) in enumerate(zip(prompts, new_tokens, strict=True)):
            name = str(self._requests)
            self._requests += 1
            streams[name] = stream
            options = self._options(max_tokens=count, seed=0, temperature=0.0, ignore_eos=True)
            text = self._sequence(
                name,
                0,
                np.array(prompt, np.int64),
                options,
                self._vocabulary,
                end_tokens=frozenset(),
            )
            self._engine.submit([text])
        running = len(prompts)
        while running:
            for output in self._engine.collect():
                if output.error:
                    raise RuntimeError(output.error)
                if output.token is not None:
                    timeline.token(streams[output.request_id])
                running -= output.finish_reason is not None
        return timeline.result()

    def negative_log_likelihood(self, window: list[int]) -> float:
        """See `Driver`. The engine's thread sleeps meanwhile: nothing is submitted."""
        np = self._np
        total, chunk = 0.0, 64
        for start in range(0, len(window) - 1, chunk):
            tokens = window[start : min(start + chunk, len(window) - 1)]
            rows = np.zeros((len(tokens), 3), np.int32)
            rows[:, 0], rows[:, 2] = tokens, range(start, start + len(tokens))
            following = window[start + 1 : start + 1 + len(tokens)]
            asks = [self._score(row, token, 0) for row, token in enumerate(following)]
            answers = self._model.step(rows, asks)
            total -= sum(answer.logprob.logprob for answer in answers)
        return total


if __name__ == "__main__":
    serve(EngineDriver)
