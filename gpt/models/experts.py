"""Mixture of experts, in place of the feed-forward layer of a block.

Shapes: B sequences, T tokens, C = n_embd channels, F = n_inner hidden units, E experts.
"""

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.feed_forward import activate
from tinytensor import nn


class Experts(nn.Module):
    """Stacked linear layers, one per expert: x W[e] + b[e] for the tokens of expert e.

    Shapes:
        weight (E, K, N), bias (E, N).
    """

    weight: tt.Tensor
    bias: tt.Tensor | None

    def __init__(self, n_expert: int, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(tt.empty(n_expert, in_features, out_features))
        bound = in_features**-0.5
        nn.init.uniform_(self.weight, -bound, bound)
        self.register_parameter("bias", nn.Parameter(tt.zeros(n_expert, out_features)) if bias else None)

    def forward(self, parts: list[tt.Tensor]) -> list[tt.Tensor]:
        """Apply each expert to its tokens, (n_e, K) → (n_e, N)."""
        biases = [None] * len(parts) if self.bias is None else self.bias.unbind(0)
        triples = zip(parts, self.weight.unbind(0), biases, strict=True)
        return [tt.linear(x, w, b, transposed=False) for x, w, b in triples]

    def of(self, chosen: tt.Tensor, x: tt.Tensor) -> tt.Tensor:
        """Apply expert chosen[i] to row i of x (n, K), with gathered (copied) matrices: (n, N)."""
        y: tt.Tensor = (x.unsqueeze(1) @ tt.take(self.weight, chosen, 0)).squeeze(1)
        return y if self.bias is None else y + tt.take(self.bias, chosen, 0)


class MixtureOfExperts(nn.Module):
    """Mixture of experts: a router selects the top-k feed-forward layers for each token.

    y = sum over the chosen of softmax(scores of the chosen) * expert(x). With equal experts it is one layer.

    Attributes:
        balance: load-balancing loss of the last call, E Σ share_e probability_e: the share of choices of
            expert e, times the router's mean probability for it. 1 if both are uniform, more if few experts
            get most tokens.

    Source: Shazeer et al. 2017, arXiv:1701.06538; balance: Fedus et al. 2021, arXiv:2101.03961, equation 4;
        softmax over the chosen: Jiang et al. 2024 (Mixtral), arXiv:2401.04088.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.activation, self.active = config.activation, config.n_expert_active
        E, C, F, bias = config.n_expert, config.n_embd, config.inner_size, config.bias
        self.router = nn.Linear(C, E, bias=False)
        self.c_fc = Experts(E, C, F, bias)
        self.c_gate = Experts(E, C, F, bias) if config.gated else None
        self.c_proj = Experts(E, F, C, bias)
        self.balance: tt.Tensor | None = None

    def forward(self, x_BTC: tt.Tensor) -> tt.Tensor:
        """(B, T, C) → (B, T, C)."""
        x = x_BTC.reshape(-1, x_BTC.shape[-1])  # (n, C)
        scores = self.router(x)  # (n, E)
        best, chosen = tt.topk(scores, self.active)  # (n, k) each
        self.balance = self._balance(scores, chosen)
        y = self._through(x, chosen)  # (n, k, C)
        y = (tt.softmax(best).unsqueeze(-1) * y).sum(axis=1)
        return y.reshape(x_BTC.shape)

    def _balance(self, scores: tt.Tensor, chosen: tt.Tensor) -> tt.Tensor:
        E = scores.shape[-1]
        share = tt.one_hot(chosen.reshape(-1), E, dtype=scores.dtype).mean(axis=0)  # (E,)
        balance: tt.Tensor = E * (share * tt.softmax(scores).mean(axis=0)).sum()
        return balance

    def _through(self, x: tt.Tensor, chosen: tt.Tensor) -> tt.Tensor:
        """Apply to each token (n, C) each of its experts (n, k): (n, k, C)."""
        (n, k), E, experts = chosen.shape, self.router.out_features, chosen.reshape(-1)
        if n * k <= E:  # few tokens, as in generation: work independent of the choice, so it can be captured
            rows = tt.expand(x.unsqueeze(1), (n, k, x.shape[1])).reshape(n * k, x.shape[1])
            h = self.c_fc.of(experts, rows)
            gate = None if self.c_gate is None else self.c_gate.of(experts, rows)
            return self.c_proj.of(experts, self._activated(h, gate)).reshape(n, k, -1)
        order = tt.argsort(experts)  # the tokens of expert 0, those of expert 1, …
        counts = tt.one_hot(experts, E).sum(axis=0).tolist()
        parts = list(tt.take(x, order // k, 0).split(counts, axis=0))
        inner = self.c_fc(parts)
        gates = [None] * E if self.c_gate is None else self.c_gate(parts)
        inner = [self._activated(h, gate) for h, gate in zip(inner, gates, strict=True)]
        y = tt.concat(self.c_proj(inner), axis=0)  # (n k, C)
        return tt.take(y, tt.argsort(order), 0).reshape(n, k, -1)

    def _activated(self, h: tt.Tensor, gate: tt.Tensor | None) -> tt.Tensor:
        return activate(h, self.activation) if gate is None else activate(gate, self.activation) * h
