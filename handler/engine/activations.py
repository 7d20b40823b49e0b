"""The activations that a feed-forward layer may have: one table, from which everything else reads.

Another one is a row here, a `Finish` in native/matmul.h with its case in native/finish.h, and a
function in torch_model.py; tests/handler/test_activations.py names what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from handler.older_pythons import SLOTS


@dataclass(frozen=True, **SLOTS)
class Activation:
    """One function.

    Attributes:
        finish: Its number among the `Finish` of native/matmul.h.
        name: What this project calls it.
        aliases: What else a config.json may call it, as transformers does.
    """

    finish: int
    name: str
    aliases: tuple[str, ...] = ()


SERVED = (
    Activation(
        2, "gelu_new", ("gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate")
    ),  # by tanh
    Activation(3, "gelu", ("gelu_python",)),  # by erf
    Activation(4, "relu"),
    Activation(5, "silu", ("swish",)),
)
FINISHES = {each.name: each.finish for each in SERVED}
# Every name that a config.json may use, with the one used here.
NAMES = {name: each.name for each in SERVED for name in (each.name, *each.aliases)}
