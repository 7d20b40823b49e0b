"""Muon for the matrices inside the blocks, AdamW for all the rest, behind one optimizer.

Muon orthogonalises the momentum of a matrix (https://kellerjordan.github.io/posts/muon/).
GPT-2 packs query, key and value into one matrix; orthogonalising the pack would tie the three
together, so each gets an update of its own.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from training.muon import BatchedMuon


class MuonWithAdamW(Optimizer):
    """Steps both optimizers; its groups are theirs, so that one schedule drives both."""

    def __init__(
        self,
        model: nn.Module,
        muon_learning_rate: float,
        learning_rate: float,
        weight_decay: float,
    ) -> None:
        matrices = block_matrices(model)
        chosen = {id(parameter) for parameter in matrices.values()}
        self._matrices = [
            (parameter, 3 if name.endswith("attn.c_attn.weight") else 1)
            for name, parameter in matrices.items()
        ]
        self._views = [v for p, parts in self._matrices for v in _views(p.detach(), parts)]
        rest = [p for p in model.parameters() if p.requires_grad and id(p) not in chosen]
        self._muon = BatchedMuon(self._views, lr=muon_learning_rate, weight_decay=weight_decay)
        self._adamw = AdamW(rest, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0)
        super().__init__([*matrices.values(), *rest], {})
        self._share_groups()

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters from their gradients."""
        loss = closure() if closure is not None else None
        views = iter(self._views)
        for parameter, parts in self._matrices:
            if parameter.grad is None:
                raise RuntimeError("step() before backward(): a matrix has no gradient")
            for grad in _views(parameter.grad, parts):
                next(views).grad = grad
        self._muon.step()
        self._adamw.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters."""
        for parameter, _ in self._matrices:
            parameter.grad = None
        self._muon.zero_grad(set_to_none)
        self._adamw.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """State of both optimizers."""
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore both optimizers."""
        self._muon.load_state_dict(state_dict["muon"])
        self._adamw.load_state_dict(state_dict["adamw"])
        self._share_groups()

    def _share_groups(self) -> None:
        self.param_groups = [*self._muon.param_groups, *self._adamw.param_groups]


def block_matrices(model: nn.Module) -> dict[str, Tensor]:
    """The weight matrices of the transformer's blocks, by name."""
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if ".h." in name and parameter.ndim == 2 and parameter.requires_grad
    }


def _views(matrix: Tensor, parts: int) -> list[Tensor]:
    """The packed matrices, each as [outputs, inputs]: the shape Muon's scale is meant for."""
    return [part.T for part in matrix.chunk(parts, dim=1)]
