"""Command `python -m gpt chat MODEL`: a conversation with a chat-tuned model, with a KV cache.

The model processes each message once: the cache has keys and values of the whole conversation. Answers are
streamed; Ctrl-C ends one. Messages are lines: typed, or piped into it. On a terminal, /reset begins a new
conversation, and /quit ends it.
"""

import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import tinytensor as tt
from gpt.console import model_and_fields, plain, quiet_compilation
from gpt.fields import at_least, check_types
from gpt.generation.context import Context
from gpt.generation.sampling import Sampler, SamplingConfig
from gpt.generation.text_stream import TextStream
from gpt.models.gpt import GPT
from gpt.models.parameter_shapes import parameter_count
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.chat_template import ChatTemplate, Message
from gpt.weights.load import load, require_tokenizer
from tinytensor.errors import FormatError

COMMANDS = "/reset begins again, /quit ends the conversation (as Ctrl-D does), Ctrl-C ends an answer."
DEFAULT = SamplingConfig(temperature=0.2, top_p=0.9)  # what SmolLM2's authors recommend


@dataclass(frozen=True)
class ChatConfig:
    """Settings of a conversation."""

    system: str = ""  # system message; empty: that of the model's chat template, if it has one
    max_new_tokens: int = 512  # maximum length of an answer
    context: int = 2048  # context length in tokens; 0: the model's
    seed: int = 1337  # random seed of the sampling

    def __post_init__(self) -> None:
        check_types(self)
        at_least(self, 1, "max_new_tokens")
        at_least(self, 0, "context", "seed")


class Conversation:
    """Conversation with a model, by its chat template, with a KV cache.

    Attributes:
        messages: those in the context, after the system message: {"role": …, "content": …}.
        forgotten: number of messages dropped from the context, to leave a quarter of it to an answer.
        cut: whether the last answer was truncated, by the context or by max_new_tokens.
    """

    def __init__(self, model: GPT, tokenizer: Tokenizer, config: ChatConfig, sampler: Sampler) -> None:
        self.template = ChatTemplate(tokenizer)
        self._model, self._config, self._sampler = model, config, sampler
        self._generator = tt.Generator(config.seed)
        self._size = min(config.context or model.config.block_size, model.config.block_size)
        self._head = [{"role": "system", "content": config.system}] if config.system else []
        self.reset()

    def reset(self) -> None:
        """Forget all messages but the system message."""
        self.messages: list[Message] = []
        self.forgotten = 0
        self.cut = False
        self._read: list[int] = []  # ids that the context has processed
        self._context = Context(self._model, 1, self._size)

    def answer(self, message: str) -> Generator[str, None, None]:
        """Send a message, and stream the answer. Closing the iterator ends the answer.

        Raises:
            ArgumentError: the message alone is longer than the context, or has a character unknown to the
                tokenizer; it is discarded.
        """
        asked = {"role": "user", "content": message}
        if len(ids := self._ids([asked])) >= self._size:
            raise tt.ArgumentError(
                f"chat: a message that makes a prompt of {len(ids)} tokens",
                why=f"the context has {self._size}, one of them for the answer",
                fix="shorten it, or use a longer context: --context=0 is the model's",
            )
        return self._answer([*self.messages, asked])

    def _ids(self, messages: Sequence[Message]) -> list[int]:
        return self.template.prompt([*self._head, *messages])

    def _answer(self, messages: list[Message]) -> Generator[str, None, None]:
        room = min(self._config.max_new_tokens, max(self._size // 4, 1))  # for the answer
        while len(ids := self._ids(messages)) + room > self._size and len(messages) > 1:
            del messages[:2]  # the oldest message, with its answer
            self.forgotten += 2
        self._continue_with(ids)
        self.messages, self.cut, text = messages, False, ""
        stream, begin = TextStream(self.template.tokenizer), len(ids)
        try:
            while not self.cut:
                self._read = ids.copy()
                logits = self._context.logits([ids], len(ids))[0]
                token = self._sampler.draw(logits, self._generator)
                if token in self.template.stop_ids:
                    break
                ids.append(token)
                self.cut = len(ids) in (begin + self._config.max_new_tokens, self._size)
                piece = stream.push(token)
                text += piece
                if piece:
                    yield piece
            text += (piece := stream.close())
            if piece:
                yield piece
        finally:  # also if the iterator is closed early
            self.messages.append({"role": "assistant", "content": text})

    def _continue_with(self, ids: Sequence[int]) -> None:
        """Rewind the context to the tokens that it shares with `ids`, of which the last is read again."""
        pairs = zip(self._read, ids[:-1], strict=False)
        common = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(self._read), len(ids) - 1))
        try:
            self._context.rewind(common)
        except tt.ArgumentError:  # a sliding window has dropped tokens
            self._context = Context(self._model, 1, self._size)


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Context with a function that returns whether Ctrl-C was pressed; a second one interrupts as usual."""
    pressed = False

    def note(number: int, frame: Any) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt chat MODEL`."""
    name, (config, sampling) = model_and_fields("chat", __doc__, argv, ChatConfig(), DEFAULT)
    model, tokenizer = require_tokenizer(load(name, packed=True), "chat", name)
    talk = Conversation(model, tokenizer, config, Sampler(sampling, tokenizer.vocab_size))
    terminal = sys.stdin.isatty()
    if terminal:
        count = parameter_count(model.config)
        print(f"{name}: {count:,} parameters. {COMMANDS}")
    for message in _messages("> " if terminal else None):
        if not terminal or not message.startswith("/"):
            _say(talk, message)
        elif message == "/quit":
            break
        elif message == "/reset":
            talk.reset()
        else:
            print(COMMANDS)
    return 0


def _messages(prompt: str | None) -> Iterator[str]:
    """Non-blank lines of standard input; with a prompt if interactive."""
    if prompt is not None:
        with suppress(ImportError):
            import readline  # noqa: F401  input() edits lines where it is there
    while True:
        try:
            line = sys.stdin.readline() if prompt is None else input(prompt) + "\n"
        except EOFError:
            print()
            return
        except UnicodeDecodeError as error:
            raise FormatError(
                "chat: standard input is not UTF-8",
                why=f"a byte sequence cannot be decoded: {error.reason}",
                fix="convert it first, for example with: iconv -f latin1 -t utf-8",
            ) from None
        if not line:
            return
        if line.strip():
            yield line.strip()


def _say(talk: Conversation, message: str) -> None:
    """Stream the answer to a message to standard output."""
    forgotten = talk.forgotten
    try:
        pieces = talk.answer(message)
    except tt.ArgumentError as error:  # of this message; the conversation continues
        print(f"error: {plain(str(error))}", file=sys.stderr, flush=True)
        return
    with interrupts() as pressed, closing(pieces):
        begun = list(islice(pieces, 1))  # most kernels are compiled, with a note, before the text begins
        with quiet_compilation():
            for piece in chain(begun, pieces):
                sys.stdout.write(piece)
                sys.stdout.flush()
                if pressed():
                    break
    print(flush=True)
    if talk.forgotten > forgotten:
        _note(f"the first {talk.forgotten} messages no longer fit into the context, and were dropped")
    if talk.cut:
        _note("the answer was cut off, by --max_new_tokens or by the context")


def _note(text: str) -> None:
    print(f"({text})", file=sys.stderr, flush=True)
