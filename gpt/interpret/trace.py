"""Trace of a forward pass, with all intermediate values and shapes: `python -m gpt trace "The cat sat"`.

Text → tokens → ids → embeddings + positions → blocks (attention, feed-forward) → logits → probabilities → the
next token. `trace` returns the steps as data, `render` formats them as text, `trace_page` as HTML.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.console import counted
from gpt.data.command import embedded_shakespeare
from gpt.generation.candidates import Array, Choices, choices, to_numpy, tokens_of
from gpt.generation.sampling import next_probabilities
from gpt.interpret.activations import ids_of, save_page, view_parser
from gpt.interpret.heat_map import WIDE, heat_map, scale_of_colors
from gpt.models.gpt import GPT, Block
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.char import CharTokenizer
from gpt.weights.load import load, require_tokenizer
from tinytensor.lab.html import Html, heat, page, tag, visible

SHOWN = 6  # values per row, rows per table


@dataclass(frozen=True)
class TraceStep:
    """One step of the forward pass: the name, formula and value of an array, and the names of its axes."""

    name: str
    formula: str
    value: Array
    axes: tuple[str, ...]


@dataclass(frozen=True)
class Trace:
    """Trace of a forward pass: its steps, and the most likely next tokens with their probabilities."""

    text: str
    tokens: tuple[str, ...]
    steps: tuple[TraceStep, ...]
    following: Choices

    def step(self, name: str) -> TraceStep:
        """TraceStep by name."""
        return next(s for s in self.steps if s.name == name)


def trace(model: GPT, tokenizer: Tokenizer, text: str, *, top: int = 5) -> Trace:
    """All steps of a forward pass on a text that fits into the context; their values are the model's."""
    ids = ids_of(tokenizer, text)
    with model.evaluating():
        steps, logits = _follow(model, ids)
    p = next_probabilities(logits)
    steps.append(TraceStep("probabilities of the next token", "softmax(logits of the last token)", p, ("V",)))
    return Trace(text, tokens_of(tokenizer, ids), tuple(steps), choices(p, tokenizer, top))


def _follow(model: GPT, ids: list[int]) -> tuple[list[TraceStep], Array]:
    """All steps of a forward pass, and the logits (V,) of the last token."""
    found: list[TraceStep] = [
        TraceStep("ids", "the place of each token in the vocabulary", np.array(ids), ("T",))
    ]

    def note(name: str, formula: str, value: tt.Tensor, *axes: str) -> None:
        found.append(TraceStep(name, formula, to_numpy(value[0]), axes))

    idx = tt.tensor([ids], device=model.device)  # (1, T)
    x = model.embed(idx)
    tokens = model.wte(idx) * model.token_scale
    scaled = "" if model.token_scale == 1 else ", times the root of C"
    note("token embeddings", f"row id of the table wte (V, C){scaled}", tokens, "T", "C")
    if model.config.positions_end:
        learned = model.config.position == "learned"
        rows = "row position of the table wpe" if learned else "sines and cosines of the position"
        note("position embeddings", rows, x - tokens, "T", "C")
        note("input of the first block", "token + position embedding", x, "T", "C")
    for i, block in enumerate(model.h):
        x = _follow_block(block, i, x, note)
    note("logits", _head(model.config), model.head(x), "T", "V")
    return found, found[-1].value[-1]


def _follow_block(block: Block, i: int, x: tt.Tensor, note: Any) -> tt.Tensor:
    attn, config = block.attn, block.attn.config
    plus_b = " + b" if config.bias else ""
    at = block.ln_1(x) if block.pre_norm else x
    if block.pre_norm:
        note(f"block {i}: ln_1", _norm(config), at, "T", "C")
    q, k, v = attn.heads(at)  # (1, nh, T, hs), keys and values (1, nkv, T, hs)
    for name, value in (("queries", q), ("keys", k), ("values", v)):
        after = "" if name == "values" else _after_heads(config)
        formula = f"{name[0]} = x W_{name[0]}{plus_b}, cut into heads{after}"
        note(f"block {i}: {name}", formula, value, "head", "T", "hs")
    shared = config.n_head // config.kv_heads  # query heads per key/value head
    grouped = q.reshape(*k.shape[:2], shared, *q.shape[2:]) @ k.unsqueeze(2).mT  # (1, nkv, nh / nkv, T, T)
    scores = grouped.reshape(*q.shape[:3], q.shape[2]) / sqrt(q.shape[-1])  # (1, nh, T, T)
    each = f", each head of keys for {shared} of queries" if shared > 1 else ""
    note(f"block {i}: scores", f"q · k / sqrt(hs){each}", scores, "head", "T query", "T key")
    attended, weights = attn.forward_with_weights(at)
    note(f"block {i}: attention weights", _weights(config), weights, "head", "T query", "T key")
    note(f"block {i}: attention output", "weights · values, heads joined, times c_proj", attended, "T", "C")
    x = x + attended if block.pre_norm else block.ln_1(x + attended)
    fed = block.mlp(block.ln_2(x) if block.pre_norm else x)
    note(f"block {i}: feed-forward output", _feed_forward(config), fed, "T", "C")
    x = x + fed if block.pre_norm else block.ln_2(x + fed)
    whole = "input + attention output + feed-forward output"
    normed = "ln_2(ln_1(input + attention output) + feed-forward output)"
    note(f"block {i}: output", whole if block.pre_norm else normed, x, "T", "C")
    return x


# ---- formulas of a model's variant ---------------------------------------------------------------------


def _norm(config: GPTConfig) -> str:
    if config.norm == "rms_norm":
        return "each token to root mean square 1, scaled"
    return f"each token to mean 0 and deviation 1, scaled{' and shifted' if config.bias else ''}"


def _after_heads(config: GPTConfig) -> str:
    normed = ", each to root mean square 1, scaled" if config.qk_norm else ""
    return normed + (", turned by its position" if config.position == "rope" else "")


def _weights(config: GPTConfig) -> str:
    less = ", less the distance times the slope of the head," if config.position == "alibi" else ""
    last = f", of the last {config.sliding_window} tokens" if config.sliding_window else ""
    return f"softmax of the scores{less} up to the token itself{last}"


def _feed_forward(config: GPTConfig) -> str:
    b = " + b" if config.bias else ""
    x = "ln_2(x)" if config.norm_position == "pre" else "x"
    inner = f"silu({x} W_g{b}) * ({x} W_1{b})" if config.gated else f"{config.activation}({x} W_1{b})"
    formula = f"({inner}) W_2{b}" if config.gated else f"{inner} W_2{b}"
    experts = config.n_expert and f"of {config.n_expert_active} of {config.n_expert} experts for each token: "
    return f"{experts or ''}{formula}"


def _head(config: GPTConfig) -> str:
    normed = "ln_f, then the " if config.norm_position == "pre" else "the "
    table = "token table" if config.tied_head else "matrix lm_head"
    cap = f"{config.logit_soft_cap:g}"
    capped = f"; {cap} tanh(x / {cap}) of each" if config.logit_soft_cap else ""
    return f"{normed}product with each row of the {table}{capped}"


# ---- the page ------------------------------------------------------------------------------------------


def render(result: Trace) -> str:
    """Trace as text."""
    tokens = [repr(t) for t in result.tokens]
    lines = [f"text    {result.text!r}", f"tokens  {' '.join(tokens)}", ""]
    for step in result.steps:
        named = ", ".join(f"{a} = {n}" for a, n in zip(step.axes, step.value.shape, strict=True))
        lines += [f"{step.name}   ({named})", f"    {step.formula}"]
        lines += [f"    {line}" for line in _numbers(step, result.tokens)]
        lines.append("")
    lines.append(f"the next token after {result.text!r}")
    for token, p in result.following:
        lines.append(f"    {token!r:<10} {p:6.1%}  {'█' * round(40 * p)}")
    return "\n".join(lines)


def _numbers(step: TraceStep, tokens: tuple[str, ...]) -> list[str]:
    """Values of a step: a row per token, head by head."""
    value = step.value
    if value.dtype.kind == "i":
        return [" ".join(str(n) for n in value)]
    if value.ndim == 1:
        return [_row("", value)]
    if value.ndim == 2:
        return _table(value, tokens)
    lines = []
    for head in range(min(len(value), 2)):
        lines += [f"head {head}", *[f"  {line}" for line in _table(value[head], tokens)]]
    more = len(value) - 2
    return lines + ([f"… {counted(more, 'more head')}"] if more > 0 else [])


def _table(value: Array, tokens: tuple[str, ...]) -> list[str]:
    lines = [_row(f"{tokens[i]!r:<8}", value[i]) for i in range(min(len(value), SHOWN))]
    more = len(value) - SHOWN
    return lines + ([f"… {counted(more, 'more row')}"] if more > 0 else [])


def _row(label: str, numbers: Array) -> str:
    shown = " ".join(f"{n:8.3f}" for n in numbers[:SHOWN])
    return f"{label}{shown}{' …' if len(numbers) > SHOWN else ''}"


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt trace [RUN] TEXT`."""
    args = view_parser(
        "trace", "Follow a text through a model, number by number.", optional="run"
    ).parse_args(argv)
    model, tokenizer, about = _model(args.run)
    result = trace(model, tokenizer, args.text, top=args.top)
    if args.html:
        save_page(args.html, trace_page(result, tokenizer, about))
    else:
        print(f"model   {about}\n{render(result)}")
    return 0


def _model(run: str | None) -> tuple[GPT, Tokenizer, str]:
    """Model of a run; by default that of the demo, or else a small untrained one."""
    if run is None and (Path("runs/demo") / "latest").is_file():
        run = "runs/demo"
    if run is not None:
        model, tokenizer = require_tokenizer(load(run), "trace", run)
        return model, tokenizer, f"of {run}, {model.num_parameters():,} parameters"
    tokenizer = CharTokenizer.train(embedded_shakespeare())
    config = GPTConfig(vocab_size=tokenizer.vocab_size, block_size=64, n_layer=2, n_head=2, n_embd=32)
    about = "untrained, random weights: train one with make demo, and its numbers have meaning"
    return GPT(config, tt.Generator(0)), tokenizer, about


SHOWN_ON_PAGE = 32  # rows and columns of a heat map; of a vocabulary, the most likely of the last token
HEADS = 8  # heat maps of a step that has heads


def trace_page(result: Trace, tokenizer: Tokenizer, about: str = "") -> str:
    """HTML page of a trace; the tokenizer labels the columns of logits."""
    links = [tag("li", tag("a", s.name, href=f"#s{i}")) for i, s in enumerate(result.steps)]
    sections = [_section(f"s{i}", s, result.tokens, tokenizer) for i, s in enumerate(result.steps)]
    return page(
        f"The way of a text through a model: {result.text}",
        tag(
            "p",
            "Each step of the way shows how its numbers come about, and the numbers: one color above "
            "zero, another below, stronger for larger ones. Hover a cell for its number.",
        ),
        tag("p", about, class_="soft"),
        tag("details", tag("summary", f"{len(links)} steps"), tag("ol", *links)),
        tag("div", *sections, _following(result), class_="steps"),
        style=_STYLE,
    )


# Steps beside each other where the window is wide; one with heads takes the whole width.
_STYLE = WIDE + (
    ".steps{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(44rem,100%),1fr));gap:0 2rem}"
    ".steps>section{min-width:0}.steps>.heads{grid-column:1/-1}"
)


def _section(place: str, step: TraceStep, tokens: tuple[str, ...], tokenizer: Tokenizer) -> Html:
    shape = ", ".join([f"{a} = {n}" for a, n in zip(step.axes, step.value.shape, strict=True)])
    scale = scale_of_colors(_largest(step.value)) if step.value.dtype.kind != "i" else ""
    return tag(
        "section",
        tag("h2", step.name),
        tag("p", tag("code", step.formula), tag("span", f"   ({shape})   ", class_="soft"), scale),
        tag("div", *_pictures(step, tokens, tokenizer), class_="maps scroll"),
        tag("p", _left_out(step), class_="soft"),
        id=place,
        **({"class_": "heads"} if step.value.ndim == 3 else {}),
    )


def _largest(value: Array) -> float:
    """The value of the full color: the largest absolute value that is finite."""
    return float(np.abs(value[np.isfinite(value)]).max(initial=0.0))


def _pictures(step: TraceStep, tokens: tuple[str, ...], tokenizer: Tokenizer) -> list[Html]:
    """One heat map, or one per head."""
    value = step.value
    if value.dtype.kind == "i":
        heads = [tag("th", visible(t), scope="col") for t in tokens]
        return [tag("table", tag("tr", *heads), tag("tr", *[tag("td", str(n)) for n in value]))]
    if value.ndim == 3:
        parts = [(f"head {i}", value[i]) for i in range(min(len(value), HEADS))]
    else:
        parts = [(step.name, value.reshape(-1, value.shape[-1]))]
    most = _largest(value)
    rows = [visible(t) for t in tokens[:SHOWN_ON_PAGE]] if value.ndim > 1 else [""]
    pictures = []
    for title, matrix in parts:
        columns = _columns(step.axes[-1], matrix)
        names = [_name(step.axes[-1], int(j), tokens, tokenizer) for j in columns]
        pictures.append(heat_map(matrix[: len(rows), columns], rows, names, title=title, most=most))
    return pictures


def _columns(axis: str, matrix: Array) -> Array:
    """Indices of the columns to draw: the first, or of a vocabulary the largest of the last row."""
    if axis == "V":
        return np.argsort(-matrix[-1], kind="stable")[:SHOWN_ON_PAGE]
    return np.arange(min(matrix.shape[1], SHOWN_ON_PAGE))


def _name(axis: str, column: int, tokens: tuple[str, ...], tokenizer: Tokenizer) -> str:
    """Label of a column: a token of the vocabulary or of the text, or else the index of the channel."""
    if axis == "V" and column < tokenizer.vocab_size:  # higher ids pad the vocabulary
        return visible(tokenizer.decode([column]))
    return visible(tokens[column]) if axis.startswith("T") else str(column)


def _left_out(step: TraceStep) -> str:
    """Note on the rows, columns and heads that are not drawn."""
    value = step.value
    if value.dtype.kind == "i":
        return ""
    limits = [HEADS, SHOWN_ON_PAGE, SHOWN_ON_PAGE][-value.ndim :]
    parts = [
        f"{limit} {'likeliest' if axis == 'V' else 'first'} of {n} along {axis}"
        for axis, n, limit in zip(step.axes, value.shape, limits, strict=True)
        if n > limit
    ]
    return f"Shown: the {', the '.join(parts)}." if parts else ""


def _following(result: Trace) -> Html:
    rows = [
        tag("tr", tag("th", visible(token), scope="row"), tag("td", f"{p:.2%}", **heat(p)))
        for token, p in result.following
    ]
    return tag("section", tag("h2", "The next token"), tag("table", *rows))
