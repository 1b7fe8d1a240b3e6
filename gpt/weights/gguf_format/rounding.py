"""Packing of weights so that products stay right: errors are moved to weights that are rounded later.

To round each value to the nearest is best for the weights. But what counts are the products of the layer, for
inputs as they occur: the weights of one input after the other are rounded, and those of the inputs that are
left are changed so that they make up for the error as well as they can. With inputs x, H = E[x xᵀ], and the
upper Cholesky factor U of the inverse of H, the errors e_j of the weights of input j, just before they are
rounded, cost the products E[|e x|²] = Σ_j (e_j / U_jj)², if

    W[:, after j] -= (e_j / U_jj) U[j, after j]

The scales of a block are those with the least cost when its turn comes. Blocks and inputs with large values
come first: those after them can make up for their errors.

Source: Frantar et al. 2023 (GPTQ), arXiv:2210.17323, algorithm 1, and the order of its implementation, here
of blocks and within each. The search for scales with these costs is ours.
"""

import numpy as np
from numpy.typing import NDArray

import tinytensor as tt
from tinytensor.interop.safetensors_file import Array

_DAMPING = 0.01  # of the mean of H's diagonal, added to it
_SHARES = (1.1, 1.0, 0.94, 0.88, 0.82, 0.76, 0.7)  # of the range of a block, tried as that of its scale


def packed_rows(rows: NDArray[np.float32], kind: str, moments: Array) -> NDArray[np.uint8]:
    """Pack the rows of a matrix.

    Args:
        rows: W, shape (out, in).
        kind: a key of tt.QUANTIZED.
        moments: H, shape (in, in): sums of products of the inputs.

    Returns:
        shape (out, bytes of a row).

    Example:
        >>> rows = np.linspace(-1, 1, 128, dtype=np.float32).reshape(2, 64)
        >>> packed_rows(rows, "q4_0", np.eye(64)).shape
        (2, 36)
    """
    of = tt.QUANTIZED[kind]
    sizes = np.diag(moments).reshape(-1, of.values)  # of the inputs of each block
    order = np.argsort(-sizes.mean(1), kind="stable")  # of blocks
    places = np.argsort(-sizes[order], axis=1, kind="stable")  # in a block, of the inputs in their order
    columns = (order[:, None] * of.values + places).ravel()
    factor = _factor(moments[np.ix_(columns, columns)])
    left = rows.T[columns]  # (in, out), in this order
    blocks = np.empty((len(order), len(rows), of.nbytes), np.uint8)
    for n, within in enumerate(places):
        first, end = n * of.values, (n + 1) * of.values
        blocks[order[n]], costs = _block(left[first:end], within, factor[first:end, first:end], kind)
        left[end:] -= factor[first:end, end:].T @ costs
    return blocks.swapaxes(0, 1).reshape(len(rows), -1)


def _factor(moments: Array) -> NDArray[np.float32]:
    """U, of the damped moments."""
    damped = moments.astype(np.float64)
    damped[np.diag_indices_from(damped)] += _DAMPING * np.trace(damped) / len(damped) or 1.0
    return np.linalg.cholesky(np.linalg.inv(damped)).T.astype(np.float32)


def _block(x: Array, places: Array, factor: Array, kind: str) -> tuple[Array, Array]:
    """Round a block, (values, out), in the order of its rows; `places` are those in the file.

    Returns:
        Bytes, shape (out, bytes of a block), and e / U_jj, shape (values, out).
    """
    of = tt.QUANTIZED[kind]
    importance = np.empty(len(x), np.float32)
    importance[places] = (np.diag(factor).min() / np.diag(factor)) ** 2  # at most 1
    scale, offset = _scales(x[np.argsort(places)], importance, kind)  # (groups, out)
    inverse = _inverse(scale)
    q, costs = np.empty(x.shape, np.int8), np.empty_like(x)
    for j, place in enumerate(places):
        g = place // of.group
        q[place] = np.rint((x[j] - offset[g]) * inverse[g]).clip(of.low, of.high)
        costs[j] = (x[j] - (scale[g] * q[place] + offset[g])) / factor[j, j]
        x[j + 1 :] -= factor[j, j + 1 :, None] * costs[j]
    return of.blocks(q.T, scale.T, offset.T), costs


def _scales(x: Array, importance: Array, kind: str) -> tuple[Array, Array]:
    """Scales and offsets (groups, out) for values (values, out), with a small sum of importance * error².

    Several scales are tried: each gives integers q, and for these, least squares the best scale and offset.
    """
    of = tt.QUANTIZED[kind]
    x = x.reshape(-1, of.group, x.shape[-1])  # (groups, group, out)
    w = importance.reshape(*x.shape[:2], 1)
    low, high = x.min(1), x.max(1)  # (groups, out)
    if of.most:  # whose minimums are subtracted: offsets are not positive
        low, high = low.clip(max=0), high.clip(min=0)
    sum_w, sum_x, zeros = w.sum(1), (w * x).sum(1), np.zeros_like(low)
    best, scale, offset = zeros - 1, zeros, zeros
    for share in _SHARES:
        if of.has_offset:
            step, start = (high - low) * (share / of.high), low + (high - low) * ((1 - share) / 2)
        else:
            step, start = np.where(high > -low, high, low) * (share / of.low), zeros
        q = np.rint((x - start[:, None]) * _inverse(step)[:, None]).clip(of.low, of.high)
        wq = w * q
        sum_q, sum_qq, sum_qx = wq.sum(1), (wq * q).sum(1), (wq * x).sum(1)
        if of.has_offset:
            spread = sum_w * sum_qq - sum_q**2
            slope = (sum_w * sum_qx - sum_q * sum_x) * _inverse(spread)
            step = np.where(spread > 1e-5 * sum_w * sum_qq, slope, step)  # or all q are equal
            start = (sum_x - step * sum_q) / sum_w
        if not of.has_offset or of.most:
            without = sum_qx * _inverse(sum_qq)
            step, start = np.where(start < 0, step, without), start.clip(max=0)
        if of.has_offset and of.most:
            step = step.clip(min=0)
        error = step**2 * sum_qq + 2 * step * start * sum_q + start**2 * sum_w
        gain = 2 * (step * sum_qx + start * sum_x) - error  # compared with zeros
        pairs = ((gain, best), (step, scale), (start, offset))
        best, scale, offset = (np.where(gain > best, new, old) for new, old in pairs)
    return of.grid(scale.T).T, of.grid(offset.T).T


def _inverse(x: Array) -> Array:
    """1 / x, and 0 for 0."""
    return np.divide(1, x, where=x != 0, out=np.zeros_like(x))
