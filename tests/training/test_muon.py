from typing import Any

import pytest
import torch

from training.muon import BatchedMuon, orthogonalise

SHAPES = ((16, 16), (48, 16), (16, 16), (16, 40))


def _matrices() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def _trained(muon: Any, **options: Any) -> list[torch.Tensor]:
    matrices = [matrix.requires_grad_() for matrix in _matrices()]
    optimizer = muon(matrices, lr=0.1, weight_decay=0.2, **options)
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        for matrix in matrices:
            matrix.grad = torch.randn(matrix.shape, generator=generator)
        optimizer.step()
    return [matrix.detach() for matrix in matrices]


def test_steps_are_those_of_torch() -> None:
    ours = _trained(BatchedMuon, dtype=torch.bfloat16)
    for matrix, theirs, start in zip(ours, _trained(torch.optim.Muon), _matrices(), strict=True):
        moved = (theirs - start).norm()
        assert (matrix - theirs).norm() < 0.02 * moved  # the two sum bfloat16 in another order


def test_float32_goes_the_same_way_as_bfloat16() -> None:
    exact = _trained(BatchedMuon, dtype=torch.float32)
    for matrix, rough, start in zip(exact, _trained(torch.optim.Muon), _matrices(), strict=True):
        assert torch.cosine_similarity((matrix - start).flatten(), (rough - start).flatten(), 0) > (
            0.99
        )


def test_a_matrix_does_not_depend_on_those_beside_it() -> None:
    options = ((3.4445, -4.7750, 2.0315), 5, torch.float32)
    batch = torch.randn(6, 24, 16, generator=torch.Generator().manual_seed(2))
    together = orthogonalise(batch, *options)
    for number in range(6):
        alone = orthogonalise(batch[number : number + 1], *options)[0]
        torch.testing.assert_close(together[number], alone, rtol=1e-3, atol=1e-4)


def test_a_closure_is_refused() -> None:
    with pytest.raises(ValueError, match="closure"):
        BatchedMuon([torch.zeros(2, 2, requires_grad=True)]).step(lambda: 0.0)
