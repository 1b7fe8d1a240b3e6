# %% [markdown]
# # 18. Learning from rewards
#
# **Goal.** Train a model without right answers: it answers, a program says whether the answer is right, and
# right answers become more likely. First the gradient of this is checked on a model of three numbers; then a
# small GPT goes from a third of right answers to nearly all.
#
# In the lessons so far each text came with its next token. Often there is no such text, but a check: does the
# program run, is the sum right, are the letters in order? Learning from such a check is [reinforcement
# learning](glossary.md#reinforcement-learning). The model is then called a policy, and the number that the
# check returns a reward.

# %%
import numpy as np
from lesson import Exercises, figure, pick, show

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.data.examples import completion, padded
from gpt.finetuning.grpo import GrpoConfig, Reinforcing, advantages
from gpt.models.gpt import GPT
from gpt.tasks.base import Drawn, VerifiableTask
from gpt.tasks.registry import TASKS
from gpt.tokenizers.char import CharTokenizer
from gpt.tokenizers.chat_template import IGNORED

exercises = Exercises("18_learning_from_rewards")

# %% [markdown]
# ## A policy of three numbers
#
# One question, three answers. The policy is a softmax of three logits, and only the second answer is right.
# What we want to increase is the expected reward: the sum over answers of probability times reward. It is
# just the probability of the right answer.

# %%
REWARDS = np.array([0.0, 1.0, 0.0])
logits = np.array([0.5, -0.3, 0.2])


def probabilities(logits):
    """Softmax."""
    e = np.exp(logits - logits.max())
    return e / e.sum()


def expected_reward(logits):
    """The mean reward of answers sampled from the policy."""
    return probabilities(logits) @ REWARDS


p = probabilities(logits)
print("probabilities", p.round(3), "expected reward", expected_reward(logits).round(3))

slopes = []
for i in range(3):  # finite differences: move one logit a little
    step = np.zeros(3)
    step[i] = 1e-6
    slopes.append((expected_reward(logits + step) - expected_reward(logits - step)) / 2e-6)
print("gradient by finite differences", np.round(slopes, 4))

assert slopes[1] > 0 > max(slopes[0], slopes[2])

# %% [markdown]
# With a GPT we cannot sum over all answers, but we can sample some. The [policy
# gradient](glossary.md#policy-gradient) is an average over samples that has this gradient as its mean: the
# reward of an answer, times the gradient of its log-probability. To check it, we take the mean over all three
# answers, each with its probability.

# %%
x = tt.tensor(logits, requires_grad=True)
log_p = tt.log_softmax(x, axis=0)
objective = (log_p * tt.tensor(p * REWARDS)).sum()  # the weights are numbers: no gradient flows through them
objective.backward()
print("policy gradient", x.grad.numpy().round(4))

assert np.allclose(x.grad.numpy(), slopes, atol=1e-8)

# %% [markdown]
# ## A baseline
#
# The same number may be subtracted from all rewards: the mean of the gradient stays the same, because
# probabilities sum to 1, and their gradients to 0. But single samples change. Without a baseline only right
# answers teach something. With the mean reward as baseline, wrong ones push their probability down. The
# estimates scatter less.


# %%
def estimates(baseline, count=20_000):
    """Policy gradients from one sample each, (count, 3)."""
    drawn = np.random.default_rng(0).choice(3, count, p=p)
    gradients = np.eye(3)[drawn] - p  # of the log-probability of each answer
    return (REWARDS[drawn] - baseline)[:, None] * gradients


spread = {}
for baseline in (0.0, expected_reward(logits), 1.0):
    found = estimates(baseline)
    spread[baseline] = found.var(0).sum()
    print(f"baseline {baseline:.2f}: mean {found.mean(0).round(3)}, variance {spread[baseline]:.4f}")
    assert np.allclose(found.mean(0), slopes, atol=0.01)

assert spread[expected_reward(logits)] < min(spread[0.0], spread[1.0])

# %% [markdown]
# ## A group is its own baseline
#
# Where does the mean reward of a question come from? Classic methods train a second network to predict it.
# GRPO (group relative policy optimization) samples a group of answers to the same question, and takes their
# mean. Reward minus mean is the [advantage](glossary.md#advantage) of an answer; here it is also divided by
# the standard deviation of the group. Three groups of four answers:

# %%
groups = np.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
for rewards, row in zip(groups, advantages(groups, "grpo"), strict=True):
    print(rewards, "→", row.round(2))

by_hand = (groups[0] - groups[0].mean()) / groups[0].std()
assert np.allclose(advantages(groups, "grpo")[0], by_hand)
assert not advantages(groups, "grpo")[2].any()

# %% [markdown]
# A rare right answer has a large advantage, and so has a rare wrong one, with a minus. A group of equal
# rewards teaches nothing: its question is never answered right, or always.
#
# ## A model that answers sometimes
#
# The task: write a word of three letters backwards. A tenth of the words is held out: they are never asked in
# training. `VerifiableTask` splits them, and `python -m gpt tasks` lists ready tasks.


# %%
class Backwards(VerifiableTask):
    """Write three letters backwards."""

    name, about, questions, chance = "backwards", "three letters backwards", ("{word}",), 1 / 6**3

    def draw(self, rng):
        """A word."""
        word = "".join(["abcdef"[int(rng.random() * 6)] for _ in range(3)])
        return Drawn(word, {"word": word}, word[::-1])

    def parse(self, reply):
        """The whole reply."""
        return reply


task = Backwards()
problem = task.problem(0)
print(problem, [task.reward(problem, reply) for reply in (problem.answer, problem.question, "")])

assert task.reward(problem, problem.answer) == 1.0

# %% [markdown]
# Rewards alone would not teach an untrained model: it would have to sample a right answer by accident. So it
# first sees some right answers, as in supervised fine-tuning, but too few to be good.

# %%
tokenizer = CharTokenizer(sorted(set("abcdef\nAnswer: ")))


def new_model():
    """A model that was trained on right answers for a moment, and the task for it."""
    config = GPTConfig(tokenizer.vocab_size, block_size=20, n_layer=2, n_head=4, n_embd=32, position="rope")
    model = GPT(config, tt.Generator(0))
    return model, Reinforcing(
        model, tokenizer, [task], GrpoConfig(max_new_tokens=5, held_out=pick(100, 50)), 16, 0
    )


model, rl = new_model()
optimizer = tt.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
for step in range(150):
    problems = [task.problem(32 * step + i) for i in range(32)]
    pairs = [completion(rl.prompts.of(p.question), tokenizer.encode(p.answer + "\n")) for p in problems]
    inputs, targets = padded([x for x, _ in pairs], 0), padded([y for _, y in pairs], IGNORED)
    optimizer.zero_grad()
    model.loss(tt.tensor(inputs), tt.tensor(targets)).backward()
    optimizer.step()

start = {name: weight.numpy().copy() for name, weight in model.state_dict().items()}
with model.evaluating():
    before = rl.metrics()
    print(rl.show())
print({name: round(value, 3) for name, value in before.items()})

assert before["pass_1"] < 0.5 < before["pass_8"]

# %% [markdown]
# `pass_1` is the share of right answers on held-out words, `pass_8` the share of words of which one in eight
# answers is right. The gap between them is what rewards can use: the model can do it, but does not always.
#
# ## Rewards
#
# Now without right answers. Each step samples 8 answers to each of 16 words. The control does the same, but
# shuffles the rewards of a step over its answers. If it improved, too, the reason would not be the rewards.


# %%
def reinforced(control, steps):
    """Metrics before and after steps of GRPO, and the mean reward of each."""
    model, rl = new_model()
    model.load_state_dict({name: tt.tensor(array) for name, array in start.items()})
    fields = {"max_new_tokens": 5, "held_out": rl.config.held_out, "control": control}
    rl = Reinforcing(model, tokenizer, [task], GrpoConfig(**fields), 16, 0)
    optimizer = tt.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0)
    rewards = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1.0, (step + 1) / 10)
        optimizer.zero_grad()
        rl.loss(*[tt.tensor(array) for array in rl.batch(step)]).backward()
        tt.optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rewards.append(rl.seen["reward"])
    with model.evaluating():
        return rl.metrics(), rewards


after, rewards = reinforced("none", pick(200, 170))
control, controlled = reinforced("shuffled", pick(200, 40))
for name in ("greedy", "pass_1", "pass_8"):
    print(f"{name}: before {before[name]:.3f}, after {after[name]:.3f}, control {control[name]:.3f}")

picture, axes = figure()
for row, label in ((rewards, "rewards"), (controlled, "shuffled rewards")):
    smooth = np.convolve(row, np.ones(8) / 8, "valid")
    axes.plot(np.arange(len(smooth)) + 8, smooth, label=label)
axes.set(title="Words written backwards", xlabel="step", ylabel="share of right answers")
axes.legend()
show(
    picture,
    "Share of right answers among those sampled in each step, mean of eight steps. With rewards that belong "
    "to the answers it rises to nearly 1; with shuffled ones it falls.",
)

assert after["pass_1"] > 0.9
assert control["pass_1"] < before["pass_1"] + 0.15

# %% [markdown]
# The held-out words were never asked, and no right answer was shown after the start: what was learned is the
# rule. Shuffled rewards push the model in random directions, and it forgets what it knew.
#
# Two more parts of GRPO are for longer runs: a penalty for the divergence from the model before training
# keeps what else it can do, and a batch of answers is used for several updates, with a clipped ratio of new
# to old probability. Here each answer is used once, without a penalty, as in nanochat.
#
# The same on real questions: `python -m gpt finetune grpo --task=sorting` (`docs/finetuning.md`).
#
# ## Room to compute
#
# A model computes a bounded amount for each token: as much as its layers do, whether the question is easy or
# hard. What takes more steps than that must be written down, because every token that the model writes is
# input to the next ones. So a task may have a working, and the model learns to write it before the answer:
# Nye et al. (2021, arXiv:2112.00114) call it a scratchpad, Wei et al. (2022, arXiv:2201.11903) a chain of
# thought. The reward reads the answer alone, after the last colon or equals sign.

# %%
for name in ("counting", "arithmetic"):
    problem = TASKS[name].problem(0, "test")
    print(problem.question, "→", problem.solution)
    assert problem.working
    assert TASKS[name].reward(problem, problem.solution) == TASKS[name].reward(problem, problem.answer) == 1.0

# %% [markdown]
# To count at once, the model would have to compare the letter with all letters of the word, and add,
# within its few layers. With a working each token is a small step: copy the letter that is counted, copy
# the next one of the word, mark the pair if both are equal. To add at once, it would have to know all
# sums by heart; with a working it knows those of two digits, and a held-out sum such as 18 + 5 is made of
# them. `docs/chat.md` has numbers.
#
# ## Exercises
#
# **Exercise 1.** A group of five answers has the rewards 1, 0, 0, 0, 0. What is the advantage of the right
# one if it is not divided by the standard deviation?

# %%
answer = None  # write a number
exercises.check(1, answer)

# %% [markdown]
# **Exercise 2.** Of 4 sampled answers `right` are right. Estimate the probability that at least one of two
# answers is right: the share of all pairs of different answers of which at least one is right.


# %%
def pass_at_2(right):
    """pass@2 from 4 answers."""
    ...


exercises.check(2, pass_at_2)

# %% [markdown]
# `exercises.solution(1)` prints a solution.
