"""Profile of a GPT training step, and the gain of each optimization; tinytensor only.

The step of `train`, op by op, under lab.profile; and the same step with one optimization disabled at a time.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.contest.contest import Plan, Report
from benchmarks.contest.contestants import Process, Suite, together
from benchmarks.contest.tables import ratio_text
from benchmarks.suites.train import VARIANTS, ours

# Disabled optimizations: environment variables, or arguments of `suite`.
WITHOUT: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "as it is": ({}, {}),
    "NumPy's products (BLAS)": ({}, {"matmul": "vendor"}),
    "NumPy alone, no kernels": ({"TINYTENSOR_HOST_KERNELS": "off"}, {}),
    "attention from single ops": ({}, {"plain_attention": True}),
}


def suite(shape: str, matmul: Any = "auto", plain_attention: bool = False) -> Suite:
    """Training step with one optimization disabled."""
    import tinytensor as tt

    tt.config.matmul = matmul
    if plain_attention:
        _without_fused_attention()
    return ours(shape)


def _without_fused_attention() -> None:
    """Replace fused attention by products, mask and softmax over full score matrices."""
    import tinytensor as tt

    def attention(qkv: Any, n_head: int, **options: Any) -> Any:
        B, T, C3 = qkv.shape
        heads = qkv.reshape(B, T, 3, n_head, C3 // 3 // n_head).permute(2, 0, 3, 1, 4)
        q, k, v = heads.unbind(0)  # each (B, nh, T, hs)
        scores = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
        unseen = tt.triu(tt.ones(T, T, dtype=tt.bool), 1)
        shares = tt.softmax(tt.where(unseen, float("-inf"), scores), axis=-1)
        return (shares @ v).transpose(1, 2).reshape(B, T, C3 // 3)

    tt.causal_self_attention = attention  # type: ignore[assignment]


def table_of(shape: str, steps: int, threads: int) -> str:
    """Profile table of some steps."""
    from tinytensor import lab, set_num_threads

    set_num_threads(threads)
    step = ours(shape)[shape]
    for _ in range(3):
        step.call()
    with lab.profile() as p:
        for _ in range(steps):
            step.call()
    return p.table(rows=14, per=steps)


def run(plan: Plan, *, shapes: Sequence[str], variants: Sequence[str]) -> Report:
    """Measure all variants; the findings contain the profiles.

    Args:
        plan: rounds and windows.
        shapes: keys of train.SHAPES.
        variants: keys of VARIANTS.
    """
    report = Report("profile", "NumPy alone, no kernels")
    plan = replace(plan, rtol=1e-4)
    for variant in variants:
        options: dict[str, Any] = VARIANTS[variant]
        for shape in shapes:
            processes = {
                name: Process(
                    f"{__name__}:suite", {"shape": shape, **arguments}, environment=environment, **options
                )
                for name, (environment, arguments) in WITHOUT.items()
            }
            with together(processes) as everyone:
                (result,) = report.compete(everyone, plan, label=f"{{}}, {variant}")
            for name in list(WITHOUT)[1:]:
                gained = ratio_text(vars(result.ratio("as it is", name)))
                report.findings[f"{shape}, {variant}, speed against: {name}"] = gained
            steps = {"S": 30, "M": 5, "L": 3}[shape]
            text = table_of(shape, steps, options["threads"])
            report.findings[f"{shape}, {variant}, ops"] = "\n" + text
    return report
