"""llama.cpp through its batch interface: all streams of a step in one `llama_decode`."""

from __future__ import annotations

import ctypes
from importlib import import_module
from typing import Any

from bench.drivers.loop import Timeline, serve

BATCH = 512  # tokens a call, llama.cpp's own default


class LlamaDriver:
    """Holds the model; a context is made for each number of streams, outside the clock."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._lib: Any = import_module("llama_cpp")
        self._np: Any = import_module("numpy")
        self._threads = options["threads"]
        self._lib.llama_backend_init()
        parameters = self._lib.llama_model_default_params()
        self._model = self._lib.llama_model_load_from_file(options["gguf"].encode(), parameters)
        if not self._model:
            raise RuntimeError("llama.cpp cannot load the model")
        self._vocab = self._lib.llama_vocab_n_tokens(self._lib.llama_model_get_vocab(self._model))
        self._context_length = self._lib.llama_model_n_ctx_train(self._model)
        self._streams = 0
        self._context: Any = None

    def generate(self, prompts: list[list[int]], new_tokens: list[int]) -> dict[str, Any]:
        """Prefill all prompts, then one step after the other for all of them."""
        self._prepare(len(prompts))
        timeline = Timeline(len(prompts))
        rows = [
            (token, position, stream, position == len(prompt) - 1)
            for stream, prompt in enumerate(prompts)
            for position, token in enumerate(prompt)
        ]
        tokens = [0] * len(prompts)
        for at in range(0, len(rows), BATCH):
            chunk = rows[at : at + BATCH]
            self._decode(chunk)
            for index, (_, _, stream, is_last) in enumerate(chunk):
                if is_last:
                    tokens[stream] = self._greedy(index)
                    timeline.token(stream)
        for step in range(1, max(new_tokens)):
            running = [s for s in range(len(prompts)) if step < new_tokens[s]]
            self._decode([(tokens[s], len(prompts[s]) + step - 1, s, True) for s in running])
            for index, stream in enumerate(running):
                tokens[stream] = self._greedy(index)
            timeline.tokens(running)
        return timeline.result()

    def negative_log_likelihood(self, window: list[int]) -> float:
        """See `Driver`."""
        np, total = self._np, 0.0
        self._prepare(1)
        for at in range(0, len(window), BATCH):
            chunk = window[at : at + BATCH]
            self._decode([(token, at + i, 0, True) for i, token in enumerate(chunk)])
            for index, token in enumerate(window[at + 1 : at + 1 + len(chunk)]):
                row = self._logits(index).astype(np.float64)
                top = row.max()
                total += top + np.log(np.exp(row - top).sum()) - row[token]
        return float(total)

    def _prepare(self, streams: int) -> None:
        lib = self._lib
        if self._streams != streams:
            if self._context is not None:
                lib.llama_free(self._context)
            parameters = lib.llama_context_default_params()
            parameters.n_ctx = streams * self._context_length
            parameters.n_seq_max = streams
            parameters.n_batch = parameters.n_ubatch = BATCH
            parameters.n_threads = parameters.n_threads_batch = self._threads
            self._context = lib.llama_init_from_model(self._model, parameters)
            if not self._context:
                raise RuntimeError("llama.cpp cannot make a context")
            self._streams = streams
        lib.llama_memory_clear(lib.llama_get_memory(self._context), False)

    def _decode(self, rows: list[tuple[int, int, int, bool]]) -> None:
        batch = self._lib.llama_batch_init(len(rows), 0, 1)
        batch.n_tokens = len(rows)
        for index, (token, position, stream, wants_logits) in enumerate(rows):
            batch.token[index] = token
            batch.pos[index] = position
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = stream
            batch.logits[index] = wants_logits
        status = self._lib.llama_decode(self._context, batch)
        self._lib.llama_batch_free(batch)
        if status:
            raise RuntimeError(f"llama_decode returned {status}")

    def _logits(self, index: int) -> Any:
        pointer = self._lib.llama_get_logits_ith(self._context, index)
        address = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float))
        return self._np.ctypeslib.as_array(address, (self._vocab,))

    def _greedy(self, index: int) -> int:
        return int(self._logits(index).argmax())


if __name__ == "__main__":
    serve(LlamaDriver)
