"""The systems that are measured, and what each needs before it can start."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench import archives
from bench.checkpoints import CACHE, Checkpoint
from bench.environments import LLAMA, OPENVINO, TRANSFORMERS, SetUpError, run
from bench.parent import Parent
from bench.plan import Plan
from bench.process import DriverProcess

OURS = "gpt2-torchserve int8"
OURS_INT4 = "gpt2-torchserve int4"
OURS_FP32 = "gpt2-torchserve fp32"
OURS_AVX2 = "gpt2-torchserve int8, AVX2"
PARENT = "the parent's int8"
TUTORIAL = "tutorial handler"
TRANSFORMERS_GENERATE = "transformers generate"
LLAMA_CPP = "llama.cpp q8_0"
LLAMA_CPP_Q4 = "llama.cpp q4_0"
OPENVINO_INT8 = "openvino int8"

# The packager's options for each of ours.
PRECISIONS = {OURS: "auto", OURS_INT4: "int4", OURS_FP32: "fp32", OURS_AVX2: "auto"}
# How llama.cpp's weights are kept.
GGUF = {LLAMA_CPP: "q8_0", LLAMA_CPP_Q4: "q4_0"}
# What the environment of their drivers holds.
VARIABLES = {OURS_AVX2: {"ENGINE_ISA": "avx2"}}
ENGINES = (
    *(OURS, OURS_INT4, OURS_FP32, LLAMA_CPP, LLAMA_CPP_Q4, OPENVINO_INT8),
    TRANSFORMERS_GENERATE,
)
# Those of the table of targets: no floats.
TABLE_ENGINES = (OURS, PARENT, LLAMA_CPP, OPENVINO_INT8, OURS_AVX2, OURS_INT4, LLAMA_CPP_Q4)
BYTES_PER_WEIGHT = {
    OURS: 1.0,
    OURS_INT4: 17 / 32,
    OURS_FP32: 4.0,
    OURS_AVX2: 1.0,
    PARENT: 1.0,
    LLAMA_CPP: 34 / 32,
    LLAMA_CPP_Q4: 18 / 32,  # its head has more: six bits, or eight
    OPENVINO_INT8: 1.0,
    TRANSFORMERS_GENERATE: 4.0,
    TUTORIAL: 4.0,
}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Bench:
    """What every part of the bench needs: the plan, and a way to say what happens."""

    plan: Plan
    say: Say
    parent: Parent | None = None
    broken: list[str] = field(default_factory=list)

    def leave_out(self, what: str, error: Exception, system: str) -> None:
        """Go on without it. Of our own that is a fault, which is reported at the end, too."""
        self.say(f"left out: {what}: {error}")
        if system in PRECISIONS:
            self.broken.append(what)

    @property
    def engines(self) -> tuple[str, ...]:
        """What is measured beside each other."""
        if self.plan.is_table:
            return tuple(s for s in TABLE_ENGINES if self.parent or s != PARENT)
        if self.plan.quick:
            return (OURS, LLAMA_CPP, OPENVINO_INT8, TRANSFORMERS_GENERATE)
        return (*ENGINES, PARENT) if self.parent else ENGINES

    def pack(self, system: str, checkpoint: Checkpoint) -> Path:
        """Return the directory of one of our archives; see `archives.pack`."""
        return archives.pack(checkpoint, PRECISIONS[system], self.say, self.plan.keep_archives)

    def start(
        self, system: str, checkpoint: Checkpoint, settings: dict[str, object] | None = None
    ) -> DriverProcess:
        """Start a system's driver, installing and converting what it needs.

        Raises:
            SetUpError: A peer or an archive cannot be had here.
            DriverError: It started and failed.
        """
        options: dict[str, object] = {"threads": self.plan.threads}
        if system in PRECISIONS:
            home = self.pack(system, checkpoint)
            options |= {"archive": str(home / "gpt2"), "settings": settings or {}}
            return DriverProcess(
                system,
                sys.executable,
                "bench.drivers.engine",
                options,
                variables=VARIABLES.get(system),
            )
        if system == PARENT and self.parent:
            options["archive"] = str(self.parent.pack(checkpoint, self.say) / "gpt2")
            module, root = "bench.drivers.engine", self.parent.root
            return DriverProcess(system, sys.executable, module, options, root=root)
        if system in GGUF:
            python = LLAMA.ensure(self.say)
            directory = self._converted(python, "gguf", checkpoint, GGUF[system])
            options["gguf"] = str(directory / "model.gguf")
            return DriverProcess(system, python, "bench.drivers.llama", options)
        if system == OPENVINO_INT8:
            python = OPENVINO.ensure(self.say)
            directory = self._converted(python, "openvino", checkpoint)
            options |= {"openvino": str(directory), "slots": self.plan.slots}
            return DriverProcess(system, python, "bench.drivers.openvino", options)
        options["checkpoint"] = str(checkpoint.path)
        python = TRANSFORMERS.ensure(self.say)
        return DriverProcess(system, python, "bench.drivers.transformers", options)

    def start_all(
        self, stack: contextlib.ExitStack, systems: tuple[str, ...], checkpoint: Checkpoint
    ) -> dict[str, DriverProcess]:
        """Start those that can be had; the others are named with the reason and left out."""
        running: dict[str, DriverProcess] = {}
        for system in systems:
            try:
                running[system] = stack.enter_context(self.start(system, checkpoint))
            except (SetUpError, RuntimeError) as error:
                self.leave_out(f"{system} on {checkpoint.name}", error, system)
        return running

    def _converted(self, python: Path, kind: str, checkpoint: Checkpoint, *precision: str) -> Path:
        """Return the directory with the checkpoint in a peer's format; made if out of date."""
        target = CACHE / "-".join((kind, *precision)) / checkpoint.path.name
        stamp = target / "made-from"
        weights = (checkpoint.path / "model.safetensors").read_bytes()
        # Not where the environment lies: checkouts may share what was made.
        environment = python.parent.parent.name
        wanted = json.dumps([environment, hashlib.sha256(weights).hexdigest()])
        if stamp.exists() and stamp.read_text() == wanted:
            return target
        self.say(f"converting {checkpoint.name} to {' '.join((kind, *precision))}")
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        output = target / "model.gguf" if kind == "gguf" else target
        command = [str(python), "-m", f"bench.convert.{kind}", str(checkpoint.path), str(output)]
        command += precision
        run(command, f"converting to {kind}")
        stamp.write_text(wanted)
        return target
