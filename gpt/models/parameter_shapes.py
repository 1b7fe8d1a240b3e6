"""Names and shapes of all parameters of a model, from its config alone."""

from math import prod

from gpt.config import GPTConfig
from tinytensor.errors import ArgumentError


def parameter_shapes(model: GPTConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of all parameters by name, without allocating them.

    Returns:
        Name (as in GPT-2 files) → shape, in the order of the forward pass; matrices are stored (in, out). A
        tied head and a fixed position table are not listed.

    Raises:
        ArgumentError: vocab_size is 0, that is unresolved.

    Example:
        >>> from gpt.presets import configs_from
        >>> model, _ = configs_from(["--preset=gpt2"], default="demo")
        >>> shapes = parameter_shapes(model)
        >>> shapes["wte.weight"], shapes["h.11.attn.c_attn.weight"]
        ((50257, 768), (768, 2304))
    """
    if model.vocab_size == 0:
        raise ArgumentError(
            "parameter_shapes: vocab_size is 0",
            why="it is resolved by the tokenizer when training begins",
            fix="use model.with_vocab_size(65)",
        )
    V, T, C = model.vocab_size, model.block_size, model.n_embd
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (V, C)}
    if model.position == "learned":
        shapes["wpe.weight"] = (T, C)
    block = _block_shapes(model)
    layers = {f"h.{i}.{name}": shape for i in range(model.n_layer) for name, shape in block.items()}
    shapes |= layers
    if model.norm_position == "pre":  # a post-norm block already ends with a norm
        shapes |= _norm_shapes(model, "ln_f")
    if not model.tied_head:
        shapes["lm_head.weight"] = (V, C)
    return shapes


def parameter_count(model: GPTConfig) -> int:
    """Number of parameters, a tied head counted once; of packed weights the number of values.

    Example:
        >>> from gpt.presets import configs_from
        >>> parameter_count(configs_from(["--preset=gpt2"], default="demo")[0])
        124439808
    """
    return sum([prod(shape) for shape in parameter_shapes(model).values()])


def _block_shapes(model: GPTConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of one block."""
    C, F, E, hs = model.n_embd, model.inner_size, model.n_expert, model.head_size
    shapes = _norm_shapes(model, "ln_1")
    shapes |= _linear_shapes(model, "attn.c_attn", (C, (model.n_head + 2 * model.kv_heads) * hs))
    shapes |= _linear_shapes(model, "attn.c_proj", (C, C))
    if model.qk_norm:
        shapes |= {"attn.q_norm.weight": (hs,), "attn.k_norm.weight": (hs,)}
    shapes |= _norm_shapes(model, "ln_2")
    if E:
        shapes["mlp.router.weight"] = (C, E)
    stack = (E,) if E else ()
    for name in ("c_fc", "c_gate") if model.activation == "swiglu" else ("c_fc",):
        shapes |= _linear_shapes(model, f"mlp.{name}", (*stack, C, F))
    return shapes | _linear_shapes(model, "mlp.c_proj", (*stack, F, C))


def _linear_shapes(model: GPTConfig, name: str, weight: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Shapes of a matrix (…, in, out) and its bias."""
    bias = {f"{name}.bias": (*weight[:-2], weight[-1])} if model.bias else {}
    return {f"{name}.weight": weight} | bias


def _norm_shapes(model: GPTConfig, name: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the weight of a norm, and of the bias of a layer norm."""
    shapes: dict[str, tuple[int, ...]] = {f"{name}.weight": (model.n_embd,)}
    return shapes | ({f"{name}.bias": (model.n_embd,)} if model.bias and model.norm == "layer_norm" else {})
