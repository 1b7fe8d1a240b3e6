"""MFU: a share of the fastest products that were seen, whatever disturbed the others."""

from types import SimpleNamespace

import numpy as np
import pytest

import tinytensor as tt
from gpt.training import measures
from gpt.training.measures import LOOKS, Utilization, product_speed


def test_the_largest_peak_is_kept_and_the_first_answer_left_out(monkeypatch):
    speeds = iter([2e9, 8e9, 1e9, 4e9])  # a busy machine, a free one, a busy one
    monkeypatch.setattr(measures, "product_speed", lambda: next(speeds))
    used = Utilization(1e6, ranks=2)
    assert used.share(1e9) is None  # and is no peak
    assert [used.share(800.0) for _ in range(LOOKS)] == pytest.approx([0.05] * LOOKS)
    assert used.share(32e3) == 1.0  # faster than any product: that is the peak from now on
    assert used.share(800.0) == pytest.approx(0.025)


def test_products_are_counted_and_computed_as_autocast_says(monkeypatch):
    seen = []
    times = iter(np.cumsum([0, 9, 0, 0.5, 0, 0.25, 0, 1.0]).tolist())  # before and after each product
    monkeypatch.setattr(measures, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    monkeypatch.setattr(
        tt.Tensor, "__matmul__", lambda a, b, matmul=tt.matmul: seen.append(matmul(a, b).dtype)
    )
    with tt.no_grad(), tt.autocast(tt.bfloat16):
        assert product_speed(size=8, repeats=4) == 2 * 8**3 / 0.25
    assert seen == [tt.bfloat16] * 4
