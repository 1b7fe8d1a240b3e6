"""Other libraries take tensors: einops, pandas, joblib, matplotlib, ml_dtypes, and PyTorch through DLPack."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.source import ROOT
from tinytensor import nn

A = np.arange(24.0).reshape(2, 3, 4)

# ---- bfloat16 through DLPack and ml_dtypes -----------------------------------------------------------------

VALUES = [[1.0, -2.5, 3e38], [float("inf"), 0.0, -1e-40]]


def test_bfloat16_goes_to_pytorch_and_back() -> None:
    torch = pytest.importorskip("torch")
    x = tt.tensor(VALUES, dtype=tt.bfloat16)
    for view in (x, x.T, x[:, ::2], x[1], x[0, 0], x[:0]):
        theirs = torch.from_dlpack(view)
        assert theirs.dtype is torch.bfloat16
        assert theirs.tolist() == view.tolist()
        for take in (tt.from_dlpack, tt.asarray):
            back = take(theirs)
            assert (back.dtype, back.shape, back.tolist()) == (tt.bfloat16, view.shape, view.tolist())
            assert back.shares_memory(view) == bool(view.size)
        assert tt.tensor(theirs).tolist() == view.tolist()
        assert not tt.tensor(theirs).shares_memory(view)
    torch.from_dlpack(x)[0, 0] = 7.0
    assert x[0, 0].item() == 7.0
    theirs = torch.tensor(VALUES, dtype=torch.bfloat16)
    kept = tt.from_dlpack(theirs)
    del theirs
    assert kept.tolist() == tt.tensor(VALUES, dtype=tt.bfloat16).tolist()
    assert tt.asarray(torch.ones(2, dtype=torch.bfloat16), dtype=tt.float64).tolist() == [1.0, 1.0]
    with pytest.raises(tt.GradError, match="__dlpack__"):
        torch.from_dlpack(tt.ones(2, dtype=tt.bfloat16, requires_grad=True))
    with pytest.raises(tt.ArgumentError, match="requires grad"):
        tt.from_dlpack(torch.ones(2, dtype=torch.bfloat16, requires_grad=True))


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64", "bool", "complex64"])
def test_other_dtypes_go_as_they_are(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    x = tt.tensor([[1, 0], [0, 1]], dtype=dtype)
    assert torch.from_dlpack(x).dtype is getattr(torch, dtype)
    assert tt.from_dlpack(torch.from_dlpack(x)).shares_memory(x)


def test_arrays_of_ml_dtypes() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    array = np.array(VALUES).astype(bfloat16)
    for take in (tt.from_numpy, tt.asarray):
        for view in (array, array.T, array[:, ::2]):
            x = take(view)
            assert x.dtype is tt.bfloat16
            assert np.shares_memory(x.numpy(), array)
            assert x.numpy().dtype == bfloat16
            np.testing.assert_array_equal(x.numpy(), view)
    assert tt.tensor(array).tolist() == array.astype(float).tolist()
    assert tt.asarray(array[0, 0]).tolist() == 1.0


# ---- einops ------------------------------------------------------------------------------------------------

EINOPS = [
    "einops.rearrange(x, 'b h w -> (b h) w')",
    "einops.rearrange(x, '(a b) h w -> w b (h a)', a=1)",
    "einops.rearrange([x, x], 'n b h w -> b (n h) w')",
    "einops.repeat(x, 'b h w -> b h (w r)', r=2)",
    "einops.repeat(x, 'b h w -> b n h w', n=3)",
    "einops.reduce(x, 'b h w -> b', 'max')",
    "einops.reduce(x, 'b h w -> h', 'min')",
    "einops.reduce(x, 'b (h a) w -> b h w', 'mean', a=3)",
    "einops.reduce(x, 'b h w -> ', 'sum')",
    "einops.reduce(x, 'b h w -> b w', 'prod')",
    "einops.pack([x, x[0]], '* w')[0]",
    "einops.unpack(*einops.pack([x, x[0]], '* w'), '* w')[1]",
    "einops.einsum(x, x, 'b h w, b k w -> b h k')",
]


@pytest.mark.parametrize("call", EINOPS)
def test_einops_gives_the_tensors_of_numpys_arrays(call: str) -> None:
    einops = pytest.importorskip("einops")
    x = tt.tensor(A, requires_grad=True)
    found = eval(call, {"einops": einops, "x": x})
    assert isinstance(found, tt.Tensor)
    assert found.requires_grad
    np.testing.assert_allclose(found.detach().numpy(), eval(call, {"einops": einops, "x": A}), rtol=1e-6)


def test_einops_knows_shapes_and_numpy() -> None:
    einops = pytest.importorskip("einops")
    assert einops.parse_shape(tt.asarray(A), "b _ w") == {"b": 2, "w": 4}
    np.testing.assert_array_equal(einops.asnumpy(tt.asarray(A)), A)


@pytest.mark.parametrize("first", ["tinytensor", "einops"])
def test_einops_may_be_imported_first_or_last_or_never(first: str) -> None:
    pytest.importorskip("einops")
    second = "einops" if first == "tinytensor" else "tinytensor"
    code = f"""
import sys
import {first}
assert "{second}" not in sys.modules
before = len(sys.meta_path)
import {second}
print(einops.rearrange(tinytensor.ones(2, 3), "a b -> b a").shape, len(sys.meta_path) - before)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout == f"(3, 2) {-1 if first == 'tinytensor' else 0}\n"


# ---- pandas, joblib, matplotlib ----------------------------------------------------------------------------


def test_pandas() -> None:
    pd = pytest.importorskip("pandas")
    x = tt.asarray(A[0])
    frame = pd.DataFrame(x, columns=list("abcd"))
    np.testing.assert_array_equal(frame.to_numpy(), A[0])
    np.testing.assert_array_equal(pd.Series(x[0]).to_numpy(), A[0, 0])
    mixed = pd.DataFrame({"x": x[0], "n": tt.arange(4)})
    assert [str(t) for t in mixed.dtypes] == ["float64", "int64"]
    assert tt.asarray(mixed["n"].to_numpy()).dtype is tt.int64
    frame["e"] = tt.ones(3)
    assert frame["e"].tolist() == [1.0] * 3


def doubled(module: nn.Module, x: tt.Tensor) -> tuple[tt.Tensor, dict[str, Any]]:
    (module(x) * 2).sum().backward()
    return x * 2, {name: p.grad for name, p in module.named_parameters()}


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_joblib_runs_in_parallel(backend: str) -> None:
    joblib = pytest.importorskip("joblib")
    x = tt.asarray(A[0].astype(np.float32))
    jobs = [joblib.delayed(doubled)(nn.Linear(4, 2), x) for _ in range(3)]
    for double, gradients in joblib.Parallel(2, backend=backend)(jobs):
        assert double.tolist() == (x * 2).tolist()
        assert gradients["bias"].tolist() == [6.0, 6.0]


def test_joblib_keeps_tensors(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    x = tt.asarray(A)
    assert joblib.hash(x) == joblib.hash(x.clone()) != joblib.hash(x + 1)
    joblib.dump({"x": x}, tmp_path / "x")
    for mode in (None, "r"):
        assert joblib.load(tmp_path / "x", mmap_mode=mode)["x"].tolist() == x.tolist()
    cached = joblib.Memory(tmp_path / "cache", verbose=0).cache(np.asarray)
    assert cached(x).tolist() == cached(x).tolist() == A.tolist()


def test_matplotlib() -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    x = tt.asarray(A[0])
    axes = figure.subplots()
    (line,) = axes.plot(x[0], x[1])
    np.testing.assert_array_equal(line.get_ydata(), A[0, 1])
    counts, edges, _ = axes.hist(x.reshape(-1), bins=4)
    np.testing.assert_array_equal(counts, np.histogram(A[0], 4)[0])
    np.testing.assert_array_equal(edges, np.histogram(A[0], 4)[1])
    counts, _, _ = axes.hist(x, bins=3)  # a histogram of each column
    assert np.shape(counts) == (4, 3)
    np.testing.assert_array_equal(axes.imshow(x).get_array(), A[0])
    points = axes.scatter(x[0], x[1], c=x[2], s=x[0] + 1)
    np.testing.assert_array_equal(points.get_offsets(), A[0, :2].T)
    axes.bar(tt.arange(4), x[0], yerr=x[1])
    axes.errorbar(x[0], x[1], yerr=x[2])
    axes.fill_between(x[0], x[1], x[2], where=x[0] > 1)
    axes.contourf(x)
    axes.axhline(x[0, 1])
    axes.boxplot(x)
    figure.canvas.draw()


def test_datasets_of_hugging_face() -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"x": [[1.0, 2.0], [3.0, 4.0]], "y": [0, 1]}
    dataset = datasets.Dataset.from_dict(rows).with_format("numpy")
    (batch,) = tt.utils.data.DataLoader(dataset, batch_size=2)
    assert {name: column.tolist() for name, column in batch.items()} == rows
    made = datasets.Dataset.from_dict({"x": np.asarray(batch["x"]), "y": np.asarray(batch["y"])})
    assert made.with_format(None)[:] == rows
