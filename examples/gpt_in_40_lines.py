"""A GPT that learns to sort digits: embeddings, one causal block, a loop."""

import tinytensor as tt
from tinytensor import nn
from tinytensor.nn import functional as F

T, V, C = 12, 11, 48  # six digits, a separator (10), the sorted digits; tokens; channels


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(V, C), nn.Embedding(T, C)
        self.qkv, self.project = nn.Linear(C, 3 * C), nn.Linear(C, C)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(C), nn.LayerNorm(C), nn.LayerNorm(C)
        self.feed = nn.Sequential(nn.Linear(C, 4 * C), nn.GELU(), nn.Linear(4 * C, C))

    def forward(self, ids: tt.Tensor) -> tt.Tensor:
        n, t = ids.shape
        x = self.tokens(ids) + self.positions(tt.arange(t))
        q, k, v = self.qkv(self.norm1(x)).reshape(n, t, 3, 4, C // 4).permute(2, 0, 3, 1, 4)
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(heads.transpose(1, 2).flatten(2))
        x = x + self.feed(self.norm2(x))
        return self.norm3(x) @ self.tokens.weight.T


tt.manual_seed(0)
model = GPT()
optimizer = tt.optim.AdamW(model.parameters(), lr=3e-3)
for _ in range(400):
    digits = tt.randint(0, 10, (64, 6))
    ids = tt.concat([digits, tt.full((64, 1), 10), tt.sort(digits, 1)], 1)
    logits = model(ids[:, :-1])[:, 6:]
    loss = F.cross_entropy(logits.reshape(-1, V), ids[:, 7:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
right = tt.mean((tt.argmax(logits, -1) == ids[:, 7:]).float()).item()
print(f"loss {loss.item():.3f}, right digits {right:.0%}")
