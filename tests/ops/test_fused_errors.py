"""Wrong calls of fused ops: each raises the right error, which says what, why and how to fix it."""

from collections.abc import Callable
from typing import Any

import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops
from tinytensor import ArgumentError as AE
from tinytensor import DTypeError as DE
from tinytensor import IndexRangeError as IRE
from tinytensor import ShapeError as SE

attend, ce, step = ops.scaled_dot_product_attention, ops.cross_entropy, tt.adamw_step
X, IDS, Q = tt.ones(2, 3), tt.tensor([0, 1]), tt.ones(1, 2, 3, 4)
HYPER = tt.adamw_hyper(lr=0.1, step=1)

WRONG: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    ("softmax of integers", lambda: tt.softmax(IDS, -1), DE, "softmax"),
    ("softmax of a number", lambda: tt.softmax(tt.tensor(1.0), -1), SE, "no axes"),
    ("log_softmax axis", lambda: tt.log_softmax(X, 2), SE, "axis 2 is out of range"),
    ("layer_norm weight", lambda: ops.layer_norm(X, tt.ones(2)), SE, r"weight \(2,\)"),
    ("layer_norm bias", lambda: ops.layer_norm(X, None, tt.ones(1, 3)), SE, r"bias \(1, 3\)"),
    ("layer_norm dtypes", lambda: ops.layer_norm(X, tt.ones(3, dtype=tt.float64)), DE, "float64"),
    ("layer_norm of integers", lambda: ops.layer_norm(IDS), DE, "layer_norm"),
    ("layer_norm of a number", lambda: ops.layer_norm(tt.tensor(1.0)), SE, "axis"),
    ("rms_norm weight", lambda: ops.rms_norm(X, tt.ones(4)), SE, r"weight \(4,\)"),
    ("gelu name", lambda: tt.gelu(X, "exact"), AE, "'exact'"),
    ("gelu of integers", lambda: tt.gelu(IDS, "tanh"), DE, "gelu"),
    ("silu of integers", lambda: tt.silu(IDS), DE, "silu"),
    ("cross_entropy shapes", lambda: ce(X, tt.tensor([0])), SE, r"\(1,\)"),
    ("cross_entropy float targets", lambda: ce(X, tt.ones(2)), DE, "targets are integers"),
    ("cross_entropy of integers", lambda: ce(tt.arange(6).reshape(2, 3), IDS), DE, "cross_entropy"),
    ("cross_entropy target too large", lambda: ce(X, tt.tensor([0, 3])), IRE, r"targets\[1\] is 3"),
    ("cross_entropy target negative", lambda: ce(tt.ones(1, 2, 3), tt.tensor([[0, -1]])),
     IRE, r"targets\[0, 1\] is -1"),
    ("cross_entropy uint64", lambda: ce(X, tt.tensor([0, 2**63], dtype=tt.uint64)), IRE, str(2**63)),
    ("cross_entropy smoothing", lambda: ce(X, IDS, label_smoothing=1.5), AE, "1.5"),
    ("cross_entropy reduction", lambda: ce(X, IDS, reduction="avg"), AE, "'avg'"),
    ("cross_entropy no classes", lambda: ce(tt.ones(2, 0), IDS), SE, r"\(2, 0\)"),
    ("nll_loss shapes", lambda: ops.nll_loss(X, tt.tensor([[0]])), SE, r"\(1, 1\)"),
    ("nll_loss target", lambda: ops.nll_loss(X, tt.tensor([0, 5])), IRE, r"targets\[1\] is 5"),
    ("nll_loss float targets", lambda: ops.nll_loss(X, tt.ones(2)), DE, "targets"),
    ("mse_loss shapes", lambda: ops.mse_loss(X, tt.ones(3)), SE, "mistake"),
    ("mse_loss of integers", lambda: ops.mse_loss(IDS, IDS), DE, "mse_loss"),
    ("bce shapes", lambda: ops.bce_with_logits(X, tt.ones(2, 1)), SE, "differ"),
    ("bce reduction", lambda: ops.bce_with_logits(X, X, reduction=""), AE, "reduction"),
    ("embedding order", lambda: ops.embedding(IDS, X), DE, "embedding"),
    ("embedding axes", lambda: ops.embedding(tt.ones(3), IDS), SE, r"\(3,\)"),
    ("embedding negative", lambda: ops.embedding(X, tt.tensor([-1])), IRE, r"indices\[0\] is -1"),
    ("embedding too large", lambda: ops.embedding(X, tt.tensor([[0, 2]])), IRE, r"indices\[0, 1\] is 2"),
    ("embedding of a number", lambda: ops.embedding(X, tt.tensor(7)), IRE, "indices is 7"),
    ("dropout p", lambda: tt.dropout(X, 1.5), AE, "1.5"),
    ("dropout nan", lambda: tt.dropout(X, float("nan")), AE, "nan"),
    ("dropout of integers", lambda: tt.dropout(IDS), DE, "dropout"),
    ("attention axes", lambda: attend(X, X, X), SE, "split the heads"),
    ("attention sizes", lambda: attend(Q, Q, tt.ones(1, 2, 5, 4)), SE, "Tk"),
    ("attention dtypes", lambda: attend(Q, Q, Q.astype(tt.float64)), DE, "float64"),
    ("attention queries", lambda: attend(tt.ones(1, 2, 5, 4), Q, Q, causal=True), SE, "5 queries"),
    ("attention no keys", lambda: attend(Q, Q[:, :, :0], Q[:, :, :0]), SE, "0 keys"),
    ("attention mask shape", lambda: attend(Q, Q, Q, mask=tt.ones(4, 3)), SE, "mask"),
    ("attention mask too long", lambda: attend(Q, Q, Q, mask=tt.ones(2, 2, 3, 3)), SE, "mask"),
    ("attention mask dtype", lambda: attend(Q, Q, Q, mask=tt.ones(3, 3, dtype=tt.int64)), DE, "int64"),
    ("packed heads", lambda: tt.causal_self_attention(tt.ones(1, 2, 12), 5), SE, "n_head"),
    ("packed axes", lambda: tt.causal_self_attention(tt.ones(2, 12), 2), SE, r"\(2, 12\)"),
    ("packed integers", lambda: tt.causal_self_attention(tt.ones(1, 2, 12, dtype=tt.int64), 2),
     DE, "causal_self"),
    ("packed no heads", lambda: tt.causal_self_attention(tt.ones(1, 2, 12), 0), SE, "n_head is 0"),
    ("adamw lists", lambda: step([X], [], [X], [X], HYPER), SE, "0 grads"),
    ("adamw shapes", lambda: step([X], [tt.ones(3)], [X], [X], HYPER), SE, r"grad \(3,\)"),
    ("adamw hyper", lambda: step([X], [X], [X], [X], tt.ones(8)), SE, "hyper"),
    ("adamw dtype", lambda: step([X], [X], [X.astype("float16")], [X], HYPER), DE, "float16"),
    ("adamw strided", lambda: step([X.T], [X.T], [X.T], [X.T], HYPER), SE, "contiguous"),
    ("adamw_hyper step", lambda: tt.adamw_hyper(lr=0.1, step=0), AE, "step is 0"),
    ("adamw_hyper beta", lambda: tt.adamw_hyper(lr=0.1, step=1, betas=(0.9, 1.0)), AE, "1.0"),
    ("grad_norm of nothing", lambda: tt.grad_norm([]), AE, "no tensor"),
    ("grad_norm of integers", lambda: tt.grad_norm([IDS]), DE, "grad_norm"),
    ("softmax of a list", lambda: tt.softmax([1.0], -1), DE, "list"),
    ("layer_norm of an array", lambda: ops.layer_norm(X, X.numpy()[0]), DE, "ndarray"),
    ("cross_entropy of a list", lambda: ce(X, [0, 1]), DE, "asarray"),
    ("embedding of a list", lambda: ops.embedding(X, [0, 1]), DE, "list"),
    ("attention of arrays", lambda: attend(Q.numpy(), Q, Q), DE, "ndarray"),
    ("mse_loss of numbers", lambda: ops.mse_loss(X, 1.0), DE, "float"),
    ("dropout generator", lambda: tt.dropout(X, 0.5, generator=7), DE, "generator is a int"),
    ("adamw of None", lambda: step([X], [[1.0]], [X], [X], HYPER), DE, "list"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_wrong_calls_say_what_to_do(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    before = X.tolist()
    with pytest.raises(error, match=words) as caught:
        call()
    assert "why:" in str(caught.value)
    assert "fix:" in str(caught.value)
    assert X.tolist() == before
