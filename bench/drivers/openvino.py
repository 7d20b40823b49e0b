"""OpenVINO GenAI with its own continuous batching: add_request, step."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bench.drivers.loop import Timeline, serve


class OpenVINODriver:
    """Runs the int8 export; its perplexity is read from the same export by the same plugin."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._np: Any = import_module("numpy")
        self._ov: Any = import_module("openvino")
        self._genai: Any = import_module("openvino_genai")
        self._directory = options["openvino"]
        self._threads = options["threads"]
        scheduler = self._genai.SchedulerConfig()
        scheduler.max_num_seqs = options["slots"]
        scheduler.cache_size = 4
        scheduler.enable_prefix_caching = False
        self._pipeline = self._genai.ContinuousBatchingPipeline(
            self._directory, scheduler, "CPU", {"INFERENCE_NUM_THREADS": self._threads}
        )
        self._requests = 0
        self._scorer: Any = None

    def generate(self, prompts: list[list[int]], new_tokens: list[int]) -> dict[str, Any]:
        """Hand all requests over, then step until every one has ended."""
        timeline = Timeline(len(prompts))
        handles = []
        for prompt, count in zip(prompts, new_tokens, strict=True):
            config = self._genai.GenerationConfig()
            config.max_new_tokens = count
            config.ignore_eos = True
            config.do_sample = False
            ids = self._ov.Tensor(self._np.array([prompt], dtype=self._np.int64))
            handles.append(self._pipeline.add_request(self._requests, ids, config))
            self._requests += 1
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
            for stream, handle in enumerate(handles):
                while handle.can_read():
                    for output in handle.read().values():
                        for _ in output.generated_ids:
                            timeline.token(stream)
        return timeline.result()

    def negative_log_likelihood(self, window: list[int]) -> float:
        """See `Driver`."""
        np = self._np
        if self._scorer is None:
            model = self._ov.Core().read_model(f"{self._directory}/openvino_model.xml")
            self._scorer = self._ov.Core().compile_model(
                model, "CPU", {"INFERENCE_NUM_THREADS": self._threads}
            )
        names = {name for port in self._scorer.inputs for name in port.get_names()}
        ids = np.array([window], dtype=np.int64)
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "position_ids": np.arange(len(window), dtype=np.int64)[None],
            "beam_idx": np.zeros(1, dtype=np.int32),
        }
        request = self._scorer.create_infer_request()
        result = request.infer({name: value for name, value in inputs.items() if name in names})
        logits = np.asarray(result["logits"])[0, :-1].astype(np.float64)
        top = logits.max(-1)
        log_sum = top + np.log(np.exp(logits - top[:, None]).sum(-1))
        return float((log_sum - logits[np.arange(len(window) - 1), ids[0, 1:]]).sum())


if __name__ == "__main__":
    serve(OpenVINODriver)
