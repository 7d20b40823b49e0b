"""Runs steps: asks the model about the scheduled chunks and gives each sequence its answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Optional, Union

import numpy as np

from handler.engine.errors import GrammarError
from handler.engine.model import Model
from handler.engine.output import GRAMMAR, Output
from handler.engine.rows import num_foreseeable, rows_of
from handler.engine.scheduler import Chunk, Scheduler
from handler.engine.sequence import Sequence
from handler.engine.step import Answer, Deadline, Draw, Embed, Score

logger = logging.getLogger(__name__)

LACK_SECONDS = 0.005  # how often to look again while another worker has the cache's memory
SEQUENCE_FAILED = "This completion could not be continued because of an error in the engine"


class StepRunner:
    """Computes what the scheduler has chosen.

    Args:
        model: The model.
        scheduler: Chooses the chunks of a step.
        until: When several steps in one call have to end; the engine sets it.
        runs_ahead: Whether several steps may be computed in one call.
    """

    def __init__(
        self, model: Model, scheduler: Scheduler, until: Deadline, *, runs_ahead: bool
    ) -> None:
        self._model = model
        self._scheduler = scheduler
        self._until = until
        self._runs_ahead = runs_ahead

    def run(self, outputs: list[Output]) -> None:
        """Compute the next tokens of prompts, and the next one of each running completion.

        Outputs are added to `outputs` as they come, so that a failure on the way loses none.
        """
        self._end_overdue(outputs)
        chunks = self._scheduler.schedule()
        if not chunks:
            if self._scheduler.cache.is_shared:  # another worker has the memory
                time.sleep(LACK_SECONDS)
            return
        asks = list(_asks(chunks, outputs))
        steps = num_foreseeable(chunks, self._scheduler) if self._runs_ahead else 1
        draws = [draw for _, _, draws in asks for draw in draws.values() if draw]
        if steps > 1 and len(draws) == len(chunks):
            self._decode(chunks, draws, steps, outputs)
        else:
            self._compute(asks, outputs)
        for sequence in [s for s in self._scheduler if s.is_finished]:
            self._scheduler.remove(sequence)

    def _compute(self, asks: list[Asks], outputs: list[Output]) -> None:
        """Compute one step."""
        rows = rows_of([chunk for chunk, _, _ in asks])
        flat = [ask for _, own, draws in asks for ask in (*own, *draws.values()) if ask]
        answers = iter(self._model.step(rows, flat))
        for chunk, own, draws in asks:
            for _ in own:
                chunk.sequence.add(next(answers))
            self._scheduler.advance(chunk)
            for sequence, draw in draws.items():
                outputs.append(_take(sequence, next(answers) if draw else None))

    def _decode(
        self, chunks: list[Chunk], draws: list[Draw], steps: int, outputs: list[Output]
    ) -> None:
        """Compute steps of one token each until a sequence ends, or somebody wants to be heard."""
        uniforms = np.stack([chunk.sequence.uniforms(steps) for chunk in chunks], axis=1)
        for step in self._model.decode(rows_of(chunks), draws, uniforms, self._until):
            for chunk, token in zip(chunks, step.tokens):
                self._scheduler.advance(chunk)
                output = _take(chunk.sequence, Answer(token))
                output.at = step.ended_at
                outputs.append(output)

    def _end_overdue(self, outputs: list[Output]) -> None:
        now = time.monotonic()
        for sequence in [s for s in self._scheduler if s.deadline <= now]:
            outputs.append(sequence.expire())
            self._scheduler.remove(sequence)


Asks = tuple[Chunk, Union[list[Score], list[Embed]], dict[Sequence, Optional[Draw]]]


def _asks(chunks: list[Chunk], outputs: list[Output]) -> Iterator[Asks]:
    """What is asked of each chunk's own tokens, and who goes on after its last row.

    A sequence of which nothing can be asked fails, and no other.
    """
    first = 0
    for chunk in chunks:
        source = chunk.sequence
        own = source.asks(source.num_computed, chunk.count, first)
        first += chunk.count
        draws: dict[Sequence, Draw | None] = {}
        for sequence in (source, *chunk.forks) if chunk.ends_tokens else ():
            try:
                draws[sequence] = sequence.draw(first - 1)
            except GrammarError as error:
                outputs.append(sequence.fail(str(error), GRAMMAR))
            except Exception:
                logger.exception("nothing could be asked for a sequence")
                outputs.append(sequence.fail(SEQUENCE_FAILED))
        yield chunk, own, draws


def _take(sequence: Sequence, answer: Answer | None) -> Output:
    """Let a sequence go on with an answer; an error in one ends that one and no other."""
    try:
        return sequence.take(answer)
    except GrammarError as error:
        return sequence.fail(str(error), GRAMMAR)
    except Exception:
        logger.exception("a sequence failed")
        return sequence.fail(SEQUENCE_FAILED)
