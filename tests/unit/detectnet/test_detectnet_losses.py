from __future__ import annotations

from math import log

import pytest
import torch

from aerodet.detectnet.losses import ClassCost, CostWeights, bbox_loss, cov_loss
from aerodet.detectnet.targets import Targets


def maps(*values: float) -> torch.Tensor:
    """One picture, one class, one row of cells."""
    return torch.tensor(values).view(1, 1, 1, -1)


def targets_of(cov: torch.Tensor, bbox: torch.Tensor) -> Targets:
    return Targets(cov, cov, bbox)


def test_coverage_loss_worked_by_hand():
    loss = cov_loss(maps(0.8, 0.1), maps(1.0, 0.0), torch.tensor([0.05]))

    expected = -(0.05 * log(0.8 + 1e-5) + 0.95 * log(1 - 0.1 + 1e-5)) / 2
    assert loss.tolist() == [pytest.approx(expected, rel=1e-6)]


def test_cells_covered_by_half_or_less_weigh_as_background():
    loss = cov_loss(maps(0.3, 0.3), maps(0.5, 0.5625), torch.tensor([0.2]))

    def entropy(t: float) -> float:
        return -(t * log(0.3 + 1e-5) + (1 - t) * log(0.7 + 1e-5))

    assert loss.tolist() == [pytest.approx((0.8 * entropy(0.5) + 0.2 * entropy(0.5625)) / 2, rel=1e-6)]


def test_cells_to_ignore_have_no_coverage_loss_and_no_gradient():
    predicted = maps(0.8, 0.3).requires_grad_()

    loss = cov_loss(predicted, maps(1.0, -1.0), torch.tensor([0.05]))
    loss.sum().backward()

    assert loss.tolist() == [pytest.approx(-0.05 * log(0.8 + 1e-5) / 2, rel=1e-6)]
    assert predicted.grad is not None
    assert predicted.grad[0, 0, 0, 1] == 0


def test_coverage_loss_stays_finite_where_the_network_is_certain_and_wrong():
    loss = cov_loss(maps(0.0, 1.0), maps(1.0, 0.0), torch.tensor([0.5]))

    assert loss.tolist() == [pytest.approx(-0.5 * log(1e-5), rel=1e-3)]


def test_box_loss_worked_by_hand():
    predicted = torch.zeros(1, 4, 1, 2)
    target = torch.zeros(1, 4, 1, 2)
    target[0, :, 0, 0] = torch.tensor([1.0, -2.0, 3.0, 4.0])
    target[0, :, 0, 1] = 100.0  # not covered

    # |1| + |2| + |3| + |4|, weighed 0.25, over 4 sides and 2 cells.
    assert bbox_loss(predicted, target, maps(0.25, 0.0)).tolist() == [10 * 0.25 / 8]


def test_classes_have_their_own_losses():
    cov = torch.full((2, 2, 3, 3), 0.5)
    cov_target = torch.stack([torch.ones(2, 3, 3), torch.zeros(2, 3, 3)], dim=1)
    bbox, bbox_target = torch.zeros(2, 8, 3, 3), torch.zeros(2, 8, 3, 3)
    bbox_target[:, 4:] = 2.0

    assert cov_loss(cov, cov_target, torch.tensor([0.05, 0.3])).tolist() == pytest.approx(
        [-0.05 * log(0.50001), -0.7 * log(0.50001)]
    )
    assert bbox_loss(bbox, bbox_target, torch.ones(2, 2, 3, 3)).tolist() == [0.0, 2.0]


def test_the_total_weighs_classes_and_objectives_by_their_shares():
    costs = CostWeights([ClassCost(class_weight=1.0), ClassCost(class_weight=3.0, initial=(1.0, 1.0))])
    cov, bbox = torch.full((1, 2, 1, 1), 0.5), torch.zeros(1, 8, 1, 1)
    target = targets_of(torch.ones(1, 2, 1, 1), torch.full((1, 8, 1, 1), 3.0))

    total, raw = costs(cov, bbox, target)

    one = -0.05 * log(0.50001)
    assert raw.tolist() == [pytest.approx([one, 3.0])] * 2
    assert float(total) == pytest.approx(0.25 * (one / 11 + 3 * 10 / 11) + 0.75 * (one / 2 + 3 / 2))


def test_only_the_total_has_a_gradient():
    costs = CostWeights([ClassCost()])
    bbox = torch.ones(1, 4, 1, 1, requires_grad=True)
    target = targets_of(torch.ones(1, 1, 1, 1), torch.zeros(1, 4, 1, 1))

    total, raw = costs(torch.full((1, 1, 1, 1), 0.5), bbox, target)
    total.backward()

    assert not raw.requires_grad
    assert bbox.grad is not None
    assert bbox.grad.flatten().tolist() == pytest.approx([10 / 11 / 4] * 4)


def feed(costs: CostWeights, *errors: float) -> tuple[float, float]:
    """Show batches with the given box errors; return the epoch's summed losses."""
    cov_sum = bbox_sum = 0.0
    for error in errors:
        _, raw = costs(
            torch.full((1, 1, 1, 1), 0.5),
            torch.zeros(1, 4, 1, 1),
            targets_of(torch.ones(1, 1, 1, 1), torch.full((1, 4, 1, 1), error)),
        )
        cov_sum, bbox_sum = cov_sum + float(raw[0, 0]), bbox_sum + float(raw[0, 1])
    return cov_sum, bbox_sum


def test_autoweighting_sets_weights_to_target_over_the_epochs_loss():
    costs = CostWeights([ClassCost(target=(1.0, 10.0))])
    cov, bbox = feed(costs, 1.0, 2.0)

    costs.end_epoch()

    ratios = [1 / cov, 10 / bbox]
    assert costs.weights[0].tolist() == pytest.approx([r / sum(ratios) for r in ratios])

    cov, bbox = feed(costs, 5.0)  # the sums began anew
    costs.end_epoch()
    assert float(costs.weights[0, 0] / costs.weights[0, 1]) == pytest.approx(bbox / cov / 10)


def test_autoweighting_keeps_weights_inside_the_limits():
    costs = CostWeights([ClassCost(target=(1.0, 10.0))], limits=(0.2, 0.6))
    feed(costs, 1e-3)

    costs.end_epoch()

    assert costs.weights[0].tolist() == pytest.approx([0.2, 0.6])


def test_an_epoch_without_any_box_leaves_finite_weights():
    costs = CostWeights([ClassCost()])
    feed(costs, 0.0)

    costs.end_epoch()

    assert costs.weights[0].tolist() == pytest.approx([1e-4, 0.9999])


def test_without_autoweighting_the_first_weights_stay():
    costs = CostWeights([ClassCost(initial=(1.0, 3.0))], auto=False)
    feed(costs, 7.0)

    costs.end_epoch()

    assert costs.weights.tolist() == [[0.25, 0.75]]


def test_weights_go_on_from_a_saved_state():
    costs, other = CostWeights([ClassCost()]), CostWeights([ClassCost()])
    feed(costs, 7.0)
    costs.end_epoch()

    other.load_state_dict(costs.state_dict())

    assert torch.equal(other.weights, costs.weights)
    assert torch.equal(other.to("cpu").weights, costs.weights)
