"""Common calls of PyTorch, as text, each of which gives the same here, or an error.

tests/core/test_pytorch_calls.py compares with recorded results, that of tests/oracle with PyTorch.
"""

from typing import Any

import numpy as np

RNG = np.random.default_rng(0)
DATA = {
    "x": RNG.normal(size=(2, 3)).astype("float32"),
    "y": RNG.normal(size=(2, 3)).astype("float32"),
    "w": RNG.normal(size=(3, 4)).astype("float32"),
    "v": RNG.normal(size=3).astype("float32"),
    "b": RNG.normal(size=(2, 3, 4)).astype("float32"),
    "c": RNG.normal(size=(2, 4, 5)).astype("float32"),
    "p": RNG.uniform(0.1, 0.9, size=(2, 3)).astype("float32"),
    "i": np.array([[3, -7, 5], [0, 2, -2]]),
    "j": np.array([[2, 3, -2], [4, -3, 3]]),
    "k": np.array([2, 0]),
    "g": np.array([[2, 0], [1, 1]]),
    "m": np.array([[True, False, True], [False, False, True]]),
    "h": np.array([1.5, -2.5, 0.0], dtype="float16"),
    "s": np.array(2.5, dtype="float32"),
    "n": np.array([np.nan, np.inf, -np.inf, 1.0], dtype="float32"),
}

# One call a line: the same text, the same values, shape and dtype.
SAME = """
x + y
x - 1
2 * x
x / y
x // y
x % y
x ** 2
-x
x @ w
b @ c
x == y
x > 0
x.add(y)
x.sub(y)
x.mul(y)
x.div(y)
x.pow(2)
x.neg()
torch.add(x, y)
torch.sub(x, 1)
torch.mul(x, y)
torch.div(x, y)
torch.div(i, j)
torch.div(i, j, rounding_mode="floor")
torch.div(i, j, rounding_mode="trunc")
torch.div(x, y, rounding_mode="trunc")
torch.div(x, 0.3, rounding_mode="floor")
x.div(2, rounding_mode="floor")
torch.true_divide(x, y)
torch.floor_divide(i, j)
torch.remainder(i, j)
i.remainder(3)
torch.neg(x)
x.abs()
torch.abs(x)
torch.square(x)
torch.sqrt(p)
p.rsqrt()
x.exp()
p.log()
p.log1p()
x.sin()
torch.cos(x)
torch.tanh(x)
x.sigmoid()
torch.sigmoid(x)
torch.relu(x)
x.relu()
torch.erf(x)
torch.erfc(x)
x.erfc()
x.sign()
x.round()
x.floor()
x.ceil()
x.trunc()
x.reciprocal()
torch.eq(x, y)
torch.ne(x, 0)
torch.lt(x, y)
torch.le(x, y)
torch.gt(x, y)
torch.ge(x, 0)
x.eq(y)
x.ne(y)
x.lt(0)
x.le(0)
x.gt(y)
x.ge(y)
torch.maximum(x, y)
torch.minimum(x, other=y)
torch.clamp(x, -0.5, 0.5)
torch.clamp(x, min=0)
x.clamp(max=0.1)
x.clamp(0, 1)
torch.clamp_min(x, 0.2)
x.clamp_max(0.2)
x.clip(0, 1)
torch.where(x > 0, x, y)
torch.where(m, x, 0.0)
torch.where(m, input=x, other=y)
torch.lerp(x, y, 0.3)
x.lerp(y, 0.3)
torch.addcmul(x, y, p, value=0.5)
torch.addcdiv(x, y, p, value=2)
torch.nan_to_num(n)
n.nan_to_num(0.5, posinf=9.0)
torch.isnan(n)
n.isinf()
torch.isfinite(n)
torch.isclose(x, y)
torch.allclose(x, x)
torch.logical_and(m, x > 0)
m.logical_not()
m & (x > 0)
~m
torch.logaddexp(x, y)
torch.hypot(x, y)
torch.atan2(x, y)
x.sum()
x.sum(0)
x.sum(dim=1)
x.sum(dim=1, keepdim=True)
x.sum(-1, keepdim=True)
x.sum((0, 1))
torch.sum(x, dim=0)
torch.sum(x, dim=(0, 1))
i.sum()
m.sum()
m.sum(dim=1)
x.sum(dim=0, dtype=torch.float64)
x.mean()
x.mean(dim=-1, keepdim=True)
torch.mean(x, 0)
x.prod()
x.prod(dim=1)
x.max()
x.min()
torch.max(x)
x.argmax()
x.argmax(dim=1)
x.argmin(dim=1, keepdim=True)
torch.argmax(x, dim=-1)
torch.amax(x, dim=1)
torch.amax(x, (0, 1), keepdim=True)
x.amax()
x.amin(0)
x.amin(dim=-1, keepdim=True)
m.any()
m.any(dim=0)
m.all(dim=1, keepdim=True)
torch.all(m)
torch.count_nonzero(x)
x.var(dim=1, unbiased=False)
x.var(1, unbiased=True)
x.std(dim=0, correction=1)
x.std(unbiased=True)
torch.var(x, dim=1, correction=0, keepdim=True)
x.norm()
torch.norm(x)
x.norm(dim=1)
x.norm(p=1, dim=1)
x.norm(p=2, dim=-1, keepdim=True)
torch.logsumexp(x, dim=1)
x.logsumexp(dim=1, keepdim=True)
x.cumsum(0)
x.cumsum(dim=1)
torch.cumsum(i, dim=-1)
torch.cumsum(m, 0)
x.cumprod(dim=1)
torch.cumprod(x, 0)
torch.diff(x)
torch.diff(x, dim=0)
x.argsort(dim=1, descending=True)
torch.argsort(x, dim=0)
x.topk(2)[0]
x.topk(2, dim=1)[1]
torch.topk(x, 1, dim=0, largest=False)[0]
torch.unique(i)
x.softmax(-1)
x.softmax(dim=0)
torch.softmax(x, dim=1)
x.log_softmax(dim=-1)
torch.log_softmax(x, 1)
torch.mm(x, w)
x.mm(w)
torch.matmul(x, w)
x.matmul(v)
torch.bmm(b, c)
b.bmm(c)
torch.mv(x, v)
torch.dot(v, v)
v.dot(v)
torch.outer(v, v)
torch.einsum("ij,jk->ik", x, w)
torch.einsum("bij,bjk", b, c)
torch.tensordot(x, w, dims=1)
torch.addmm(w[:2], x, w)
torch.addmm(v[:1], x, w, beta=0.5, alpha=2)
w[:2].addmm(x, w)
torch.baddbmm(x[:, :, None], b, c, beta=0)
torch.trace(x)
x.trace()
x.shape
x.ndim
x.dim()
torch.numel(x)
x.size()
x.size(0)
x.size(dim=-1)
torch.linalg.norm(x)
torch.linalg.norm(x, 1, dim=1)
torch.linalg.norm(x, dim=0, keepdim=True)
torch.linalg.norm(x, float("inf"))
x.data.mul(2)
x.numel()
x.element_size()
x.itemsize
x.stride()
x.t().stride(0)
x[1:].storage_offset()
x.is_contiguous()
x.t().is_contiguous()
x.is_floating_point()
torch.is_floating_point(i)
torch.is_tensor(x)
x.is_cuda
x.requires_grad
len(x)
s.item()
x.tolist()
x.T
x.mT
x.t()
torch.t(v)
x.transpose(0, 1)
x.transpose(dim0=0, dim1=1)
torch.transpose(x, 0, 1)
x.swapaxes(0, 1)
b.permute(2, 0, 1)
b.permute((0, 2, 1))
torch.permute(b, (2, 1, 0))
b.movedim(0, -1)
torch.moveaxis(b, 0, -1)
x.view(3, 2)
x.view(-1)
x.view((6,))
x.reshape(-1)
x.reshape(3, -1)
torch.reshape(x, (6,))
x.view_as(w[:2, :3])
x.flatten()
b.flatten(1)
b.flatten(start_dim=0, end_dim=1)
torch.flatten(b, 1)
s.flatten()
x.ravel()
torch.ravel(x)
b.unflatten(2, (2, 2))
torch.unflatten(b, 2, (2, -1))
b.unflatten(-1, (-1, 2))
x.unsqueeze(0)
x.unsqueeze(-1)
torch.unsqueeze(x, dim=1)
x.unsqueeze(0).squeeze()
x.unsqueeze(0).squeeze(0)
x[None].squeeze(dim=0)
v.expand(2, 3)
v.expand(2, -1)
v.expand_as(x)
torch.broadcast_to(v, (2, 3))
x.contiguous()
x.clone()
x.detach()
x.flip(0)
x.flip(dims=(0, 1))
torch.flip(x, dims=[1])
x.roll(1, 0)
torch.roll(x, shifts=1, dims=1)
x.tile((2, 2))
torch.tile(v, (2,))
v.repeat_interleave(2)
torch.repeat_interleave(x, 2, dim=0)
x.repeat_interleave(2, dim=1)
x.diagonal()
b.diagonal(offset=1, dim1=0, dim2=2)
torch.diagonal(b, dim1=1, dim2=2)
torch.cat([x, y])
torch.cat((x, y), dim=1)
torch.cat([x, y], -1)
torch.concat([x, y], dim=1)
torch.concatenate([x, y], dim=1)
torch.stack([x, y])
torch.stack((x, y), dim=1)
torch.hstack([x, y])
torch.hstack((v, v))
torch.vstack((x, v))
x.chunk(3, dim=1)[1]
torch.chunk(b, 2, dim=-1)[1]
x.split([1, 2], dim=1)[1]
torch.split(x, [2, 1], 1)[0]
x.unbind(dim=1)[2]
torch.unbind(x)[1]
x[0]
x[:, 1]
x[..., -1]
x[None]
x[m]
x[k.clamp(max=1)]
x[:, k]
x[torch.arange(2), k]
x.select(1, 2)
torch.select(x, 0, -1)
x.narrow(1, 1, 2)
torch.narrow(x, 1, -2, 2)
x.index_select(1, k)
torch.index_select(x, 0, k[1:])
torch.index_select(x, dim=1, index=k)
x.masked_select(m)
torch.masked_select(x, v > 0)
x.masked_fill(m, 0.0)
x.masked_fill(m, float("-inf"))
torch.masked_fill(x, m, 1)
x.clone().masked_fill_(m, 7.0)
x.clone().masked_fill_(v > 0, 7.0)
x.gather(dim=1, index=g)
torch.gather(x, dim=1, index=g)
x.scatter_add(dim=1, index=g, src=y[:, :2])
x.clone().scatter_add_(1, g, y[:, :2])
torch.argwhere(m)
torch.tril(w)
w.tril(diagonal=-1)
torch.triu(w, 1)
torch.triu(torch.ones(3, 3), diagonal=1)
w.triu(diagonal=1)
torch.tril_indices(3, 4)
torch.triu_indices(3, 3, offset=1)
b.unfold(2, 2, 1)
b.unfold(dimension=2, size=2, step=2)
x.to(torch.float64)
x.to(dtype=torch.float16)
x.to("cpu")
x.to(device="cpu")
x.to("cpu", torch.float64)
x.to(torch.device("cpu"))
x.to(h)
x.cpu()
x.float()
x.double()
x.half()
x.long()
x.int()
x.bool()
p.to(torch.uint8) - 1
p.to(torch.uint8) * 2.0
m.float()
i.float()
h.float()
x.type_as(h)
x.dtype
i.dtype
x.dtype == torch.float
i.dtype == torch.long
torch.zeros(2, dtype=torch.double)
torch.zeros(2, dtype=torch.int)
torch.tensor([1, 2])
torch.tensor([1.0, 2.0])
torch.tensor(3)
torch.tensor([[1.0]], requires_grad=True)
torch.tensor([True])
torch.as_tensor([1.0, 2.0])
torch.as_tensor(x)
torch.zeros(2, 3)
torch.zeros((2, 3))
torch.ones(2, dtype=torch.long)
torch.full((2, 3), 7.0)
torch.eye(3)
torch.eye(n=2, m=3)
torch.arange(5)
torch.arange(1, 5)
torch.arange(0, 10, 2)
torch.arange(3, dtype=torch.float)
torch.arange(0.0, 1.0, 0.25)
torch.arange(3, device=x.device)
torch.linspace(0, 1, 5)
torch.linspace(0, 1, steps=5)
torch.zeros_like(x)
torch.ones_like(i)
torch.full_like(x, 2.0)
x.new_zeros(2, 2)
i.new_ones((3,))
h.new_full((2,), 3.0)
x.new_tensor([1, 2])
x.new_empty(2, 0)
torch.from_numpy(np.ones(3))
x.numpy()
torch.meshgrid(v, v, indexing="ij")[0]
torch.broadcast_to(s, (2,))
torch.manual_seed(0) and None
torch.is_grad_enabled()
torch.clone(x)
torch.result_type(x, i)
torch.finfo(torch.float32).eps
torch.iinfo(torch.int64).max
torch.pi
torch.inf
str(torch.device("cuda"))
torch.device("cuda").type
x.add_(1)
x.mul_(2)
x.sub_(y)
x.div_(2)
x.clamp_(0, 1)
x.zero_()
x.fill_(3.0)
x.copy_(y)
x.exp_()
torch.where(m, 1.0, 0.0)
torch.full((2,), 1)
torch.full((2,), True)
torch.chunk(b, 3, dim=2)[0]
x.chunk(2, 1)[0]
x.clamp(max=y)
x.pow(0.5)
torch.pow(2, x)
i + 1.5
i + x
i / 2
h * 2
h + x
x + s
i ** 2
1 - m.float()
float(s)
int(s)
bool(s)
torch.roll(x, 1)
x.unsqueeze(1).squeeze(1)
torch.squeeze(x[None], 0)
x.isclose(y)
x.max() - x.min()
x.mean((0, 1))
x.to(torch.int)
x.any()
torch.any(m, dim=1)
torch.all(m, 1, keepdim=True)
x.triu(1)
torch.zeros(2, 3, dtype=torch.bool)
torch.tensor(np.ones(2))
torch.tensor(2.5).dtype
torch.ones(3) * 3
x.sum(dim=[0, 1])
x.softmax(1).argmax(1)
(x @ w).relu().sum()
(x.argmax(dim=1) == k).float().mean()
m + m
m * m
m + 1
m * 2
m / 2
m | m
m ^ m
-i
i & 1
i << 1
~i
i % -3
i // -2
i.int() + i
i.int() * 2.5
h + i
i.float() + i
torch.arange(5.)
torch.arange(0, 5, 2.0)
torch.tensor([1, 2.5])
torch.tensor([[1, 2], [3, 4]]).float()
torch.sum(x, 0, True)
torch.cat([x, y], axis=1)
x.sum(axis=0, keepdims=True)
x.repeat_interleave(k, dim=0)
x.sum(0, keepdim=True)
x.std(1, False)
x.std(1, True)
x.std(0, unbiased=False, keepdim=True)
x.argsort()
torch.full_like(i, 2.5)
torch.full_like(i, 2)
torch.pow(i, 2)
n.max()
n.min()
n.clamp(0, 1)
n.relu()
F.relu(n)
n.argmax()
n.argmin()
n.sum()
n.round()
n.bool()
n.isnan()
n.sigmoid()
n.softmax(0)
n.log_softmax(0)
n.tanh()
F.silu(n)
F.softplus(n)
F.hardtanh(n)
n.cumsum(0)
n.any()
n.all()
torch.maximum(n, s)
torch.minimum(n, s)
n.argsort()
torch.nan_to_num(n, neginf=0.0)
n == n
n.norm()
n.std(0, correction=1)
n.mean()
n.logsumexp(0)
torch.isclose(n, n)
torch.isclose(n, n, equal_nan=True)
torch.allclose(n, n, equal_nan=True)
torch.diagonal(x, 1)
x.diagonal(0, 1, 0)
torch.logical_not(i)
x.logical_and(y)
i.logical_xor(j)
torch.zeros(())
torch.zeros(0)
torch.ones(2, 3).t()
x.view(2, -1, 1)
x.transpose(-1, -2)
x.permute(-1, 0)
x.permute([1, 0])
b.flatten(-2)
b.sum((1, 2))
b.sum(dim=(1, -1), keepdim=True)
b.mean(dim=(1, 2))
b.amax(dim=(1, 2))
b.var(dim=(1, 2), unbiased=False)
b.var((1, 2), False)
b.argmax()
b.any(dim=1)
b[0, :, 1]
b[:, k]
b[..., k]
b[:, :, None, 0]
b[k[1:], 1:, k[:1]]
b[m]
b[:, 1:3]
b[-1]
x[[0, 1]]
x[[0, 1], [2, 0]]
x[(0, 1)]
x[torch.tensor(1)]
x[True]
x[m[:, 0]]
x[::2]
x[:, ::2]
torch.einsum("ij->ji", x)
torch.einsum("ii", w[:, :3])
torch.einsum("...j,j", b[..., :3], v)
torch.tensor(5).dtype
torch.tensor(5.0).item()
x.shape[0]
len(x.shape)
tuple(x.shape)
x.shape == (2, 3)
x.device.type
str(x.device)
x.dtype is torch.float32
x.dtype.itemsize
x.nbytes
x.is_leaf
torch.finfo(x.dtype).max
torch.finfo(x.dtype).min
torch.iinfo(torch.int8).min
x.squeeze()
x.unsqueeze(2)
x.expand(4, 2, 3)
x.tile(2)
torch.tile(x, (2, 1))
x.roll(2)
x.roll((1, 1), (0, 1))
x.triu()
x.tril(-1)
torch.linspace(1, 0, 3)
torch.linspace(0, 10, steps=4, dtype=torch.float64)
torch.eye(2, 3)
torch.eye(2, dtype=torch.long)
torch.outer(v, x[0])
x.trunc().int()
x.detach().clone()
x.to(x.device)
x.to(x.dtype)
x.to(y)
x.tolist()[0]
sum(v)
max(v)
abs(x)
v @ v
v @ w
x @ v
b @ w.T[:, :0].T if 0 else x
2 ** x
1 / x
1 - x
5 // i.clamp(min=1)
5 % i.clamp(min=1)
i ** 0.5
i.abs() ** 0.5
x ** y.abs()
torch.log_softmax(x, -1)
torch.softmax(x, -1)
torch.dropout(x, 0.0, True)
torch.conv1d(b, b[:, :, :2])
torch.nn.functional.relu(x)
F.logsigmoid(x)
F.cross_entropy(x, k, torch.ones(3))
F.cross_entropy(x, p)
F.cross_entropy(x, k, reduction="none")
F.nll_loss(x, k, reduction="sum")
F.mse_loss(x, y, reduction="none")
F.layer_norm(x, [3], v)
F.dropout(x, 0.0)
F.pad(x, [1, 1])
F.one_hot(k)
F.one_hot(m.long())
F.embedding(i.abs().clamp(max=2), w, 0)
F.softmax(x, 1, dtype=torch.float64)
F.scaled_dot_product_attention(b, b, b, None, 0.0, True)
F.scaled_dot_product_attention(b, b, b, attn_mask=torch.zeros(3, 3))
F.adaptive_avg_pool1d(b, 2)
F.max_pool1d(b, kernel_size=2, stride=1)
F.avg_pool1d(b, 2, 1)
F.conv2d(b[None], torch.ones(1, 2, 2, 2), padding=1)
F.binary_cross_entropy(p, p.round())
F.smooth_l1_loss(x, y, beta=0.5)
F.huber_loss(x, y)
F.normalize(x)
F.cosine_similarity(x, y)
F.tanh(x)
F.sigmoid(x)
x.dtype.is_floating_point
i.dtype.is_floating_point
torch.finfo(torch.float16).tiny
F.relu(x)
F.gelu(x)
F.softmax(x, dim=-1)
F.log_softmax(x, dim=1)
F.cross_entropy(x, k)
F.cross_entropy(x, k, label_smoothing=0.1)
F.cross_entropy(b.transpose(1, 2), g.repeat_interleave(3, dim=1)[:, :3], ignore_index=0)
F.nll_loss(F.log_softmax(x, dim=1), k)
F.mse_loss(x, y)
F.l1_loss(x, y)
F.smooth_l1_loss(x, y)
F.binary_cross_entropy(p, (x > 0).float())
F.binary_cross_entropy_with_logits(x, p)
F.kl_div(x, p, reduction="batchmean")
F.linear(x, w.t())
F.embedding(k, w)
F.one_hot(k, 4)
F.one_hot(k, num_classes=3)
F.layer_norm(x, (3,))
torch.layer_norm(x, (3,))
F.layer_norm(x, x.shape[1:], v, v)
F.rms_norm(x, (3,), eps=1e-6)
F.rms_norm(x, (3,))
F.normalize(x, dim=-1)
F.cosine_similarity(x, y, dim=-1)
F.pad(x, (1, 1))
F.pad(x, (0, 1, 2, 0), value=1.0)
F.dropout(x, 0.1, training=False)
F.scaled_dot_product_attention(b, b, b, is_causal=True)
F.silu(x)
F.leaky_relu(x, 0.2)
F.softplus(x)
F.conv1d(b, c.transpose(1, 2)[:1, :, :2].transpose(0, 1)[:3].transpose(0, 1))
F.max_pool1d(b, 2)
F.avg_pool2d(b, 2)
F.unfold(b[None], 2)
torch.norm(x, p="fro")
torch.norm(x, 2)
x.norm(2, 1)
x.norm(1, dim=-1, keepdim=True)
x.split(2, 1)[1]
torch.split(x, 2, dim=1)[0].shape
torch.normal(0.0, 1.0, (2, 3)).shape
torch.multinomial(torch.eye(3), 1)
torch.bernoulli(torch.eye(2))
torch.median(x, dim=1)[1]
x.std(dim=1, unbiased=True)
x.repeat_interleave(2, 1)
x.hypot(y)
x.copysign(y)
x.nextafter(y)
x.heaviside(y)
i.bitwise_and(j)
i.bitwise_xor(1)
torch.median(x)
torch.median(i)
x.median(1).values
x.median(dim=0, keepdim=True).indices
n.median()
torch.quantile(x, 0.3)
x.quantile(0.5, dim=1)
x.quantile(torch.tensor([0.1, 0.5, 0.9]), dim=0, keepdim=True)
torch.quantile(x, 0.4, 1, interpolation="nearest")
torch.quantile(x, 0.4, 1, interpolation="lower")
torch.quantile(x, 0.4, 1, interpolation="higher")
torch.quantile(x, 0.4, 1, interpolation="midpoint")
torch.quantile(n[:2], 0.5)
torch.bincount(g.flatten())
torch.bincount(k, minlength=5)
k.bincount(v[:2])
torch.isin(i, k)
torch.isin(i, torch.tensor([3]), invert=True)
torch.unique(i, return_inverse=True)[1]
torch.unique(g, return_counts=True)[1]
torch.unique(g.t(), dim=1, return_inverse=True)[0]
torch.unique(torch.stack((v, v, -v)), dim=0, return_counts=True)[1]
g.unique(sorted=True)
torch.scatter(x, 1, g[:1], y[:1, :2])
torch.scatter(x, 1, g[:1], y)
x.scatter(dim=0, index=g[:, :1] % 2, value=5.0)
x.scatter(1, g, 7.0)
torch.index_add(x, 1, k, y[:, :2])
x.index_add(0, k // 2, y, alpha=2)
torch.take(x, g)
torch.cdist(x, y)
torch.cdist(b, b, p=1.0)
torch.linalg.matrix_rank(x)
x.bfloat16().float()
torch.diag(v)
torch.diag(w, 1)
v.diag(-1)
torch.std(x, dim=0, unbiased=False)
torch.split(x, 2, dim=1)[1]
x.split(2, dim=1)[0]
x.split(1, dim=0)[1]
x.gather(1, g)
torch.gather(x, 1, g)
torch.scatter_add(x, 1, g, y[:, :2])
x.scatter_add(1, g, y[:, :2])
m.nonzero(as_tuple=True)[0]
torch.nonzero(i, as_tuple=False)
x.topk(2).values
x.topk(2, dim=1).indices
x.abs_()
x.ceil_()
x.cos_()
x.floor_()
p.log_()
x.neg_()
x.pow_(2)
p.reciprocal_()
x.round_()
p.rsqrt_()
x.sigmoid_()
x.sign_()
x.sin_()
x.square_()
x.sqrt_().isnan()
x.relu_()
x.tanh_()
x.clamp_min_(0.1)
x.clamp_max_(0.1)
x.addcmul_(y, p, value=2)
x.addcdiv_(y, p)
x.lerp_(y, 0.3)
n.nan_to_num_()
x.tril_()
x.triu_(1)
x.masked_fill_(m, 0.5)
x.index_add_(1, k, y[:, :2])
x.scatter_(1, g[:1], y[:1, :2])
x.scatter_(1, g, 2.0)
x.scatter_add_(1, g, y[:, :2])
x.fill_diagonal_(7.0)
x.normal_().shape
x.uniform_(1, 2) > 0.5
x.exponential_(2.0) > -1
F.batch_norm(x, torch.zeros(3), torch.ones(3), v, v, True)
F.batch_norm(x, v.detach(), v.abs().detach())
torch.cdist(x, w[:, :3])
torch.zeros(size=(2, 3))
torch.full(size=(2,), fill_value=1.0)
"""

# The same text, random values: shape and dtype are equal.
RANDOM = """
torch.rand(2, 3)
torch.rand((2, 3))
torch.randn(2, 3)
torch.randn(2, 3, dtype=torch.float64)
torch.randint(0, 5, (2, 3))
torch.randint(low=0, high=5, size=(2, 3))
torch.randint(5, (2, 3))
torch.randint(5, size=(2, 3))
torch.randint(high=5, size=(2, 3))
torch.rand_like(x)
torch.randn_like(h)
torch.randperm(5)
torch.empty(2, 3)
torch.empty_like(x)
torch.multinomial(p, 2, replacement=True)
torch.multinomial(p, 2, False)
F.dropout(x)
F.dropout(x, p=0.3, training=True)
torch.normal(0.0, 1.0, (2,))
torch.randint(1, (2, 3))
F.dropout2d(b[None])
x.uniform_()
x.normal_(2.0, 0.1)
x.new_empty(3)
"""

# An error here that says what to write.
REFUSED = """
torch.embedding(w, k)
F.softplus(x, beta=2.0)
F.relu(x, inplace=True)
F.softmax(b)
torch.permute(b, dims=(2, 1, 0))
x.max(dim=1).values
x.max(dim=1)[1]
x.min(dim=0, keepdim=True).indices
torch.max(x, dim=1)[0]
torch.max(x, y)
torch.min(x, y)
torch.max(input=x, other=y)
x.sort(dim=1).values
x.sort(1, True).indices
torch.sort(x, dim=0, descending=True)[0]
x.argsort(1, True)
x.std(dim=1)
x.std(0, keepdim=True)
x.var(dim=0, keepdim=True)
x.var(dim=(0, 1))
torch.where(m)[1]
torch.add(x, y, alpha=2)
x.sub(y, alpha=0.5)
x.add_(y, alpha=2)
x.sub_(y, alpha=2)
x.tile(2, 2)
x.tile(2, 1, 1)
torch.rand(size=(2, 3))
x.repeat(2, 3)
torch.equal(input=x, other=y)
x.type(torch.float64)
x.grad_fn
x.squeeze(1)
torch.arange(end=5)
x.permute(dims=(1, 0))
x.pow(exponent=2)
torch.cumsum(x, axis=1, dim=0)
F.max_pool2d(b, 2, ceil_mode=True)
F.embedding(k, w, max_norm=1.0)
x.max(1).values
torch.einsum(x, [0, 1], w, [1, 2])
F.cross_entropy(x, k, None, None, -100)
F.mse_loss(x, v)
F.l1_loss(x, y, None, None, "sum")
F.local_response_norm(b, 2)
"""


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


def run(text: str, lib: Any, leaves: dict[str, Any] | None = None) -> Any:
    """The value of a call, of fresh tensors; with `leaves` these require gradients, and are put there."""
    names = {name: lib.tensor(array) for name, array in DATA.items()}
    if leaves is not None:
        leaves |= {name: t.requires_grad_() for name, t in names.items() if t.dtype == lib.float32}
        names |= {name: t * 1 for name, t in leaves.items()}
    return eval(text, {"torch": lib, "F": lib.nn.functional, "np": np, **names})


def known(value: Any, lib: Any) -> Any:
    """A result as something both libraries have: dtype, shape and values, or text."""
    if isinstance(value, lib.Tensor):
        return str(value.dtype).rpartition(".")[2], tuple(value.shape), value.detach().numpy()
    if isinstance(value, type(lib.float32)):
        return str(value).rpartition(".")[2]
    return tuple(value) if isinstance(value, tuple) else value


def same(ours: Any, theirs: Any) -> None:
    """Both are `known`, of equal types, and values are close."""
    assert type(ours) is type(theirs)
    if isinstance(ours, tuple) and len(ours) == 3 and isinstance(ours[2], np.ndarray):
        assert ours[:2] == theirs[:2]
        np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_equal(ours, theirs)
