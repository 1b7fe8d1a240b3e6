"""Source: a folder or file of weights that is open, but not read. Each format is a subclass.

Nothing is unpickled: files that could execute code on loading are rejected.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.tokenizer import load as load_tokenizer
from gpt.weights.hf_names import Naming, Place, places
from gpt.weights.weight_tensor import PackedRows, Stored, joined
from tinytensor.errors import FormatError
from tinytensor.interop.safetensors_file import Array

_TOKENIZERS = ("tokenizer.json", "vocab.bpe", "merges.txt", "tokenizer.model")


class Source:
    """An open folder or file of weights: config, tensors under our names, tokenizer."""

    path: Path
    config: GPTConfig
    naming: Naming  # naming scheme of its tensors
    tensors: Mapping[str, Stored]  # name in the file → tensor, mapped
    kind = "GPT"  # name of the model's class; of a run it may be another
    folder: Path  # folder with its tokenizer, if there is one

    @property
    def tokenizer_path(self) -> Path | None:
        """The value of --tokenizer: a file, or a folder if the tokenizer is in several; None without one."""
        present = [name for name in _TOKENIZERS if (self.folder / name).is_file()]
        if not present:
            return None
        return self.folder / present[0] if present[0] == "tokenizer.json" else self.folder

    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer, or None if there is none."""
        return None if self.tokenizer_path is None else load_tokenizer(self.folder)

    def verify(self) -> None:
        """Checks beyond names, shapes and finite values; by default none."""

    def places(self) -> dict[str, Place]:
        """Location of each tensor in the file, by our names."""
        return places(self.config, self.naming)

    def weights(self, *, packed: bool = False) -> dict[str, Any]:
        """Tensors of the model under our names.

        Args:
            packed: whether matrices of linear layers, token embeddings and the head stay in quantised blocks
                if the file has them so.

        Returns:
            Name → float32 array of our shape, on the mapped file if it has our layout; of packed matrices a
            list of PackedRows, on the mapped file if the matrix is one tensor of it.
        """
        self.verify()
        names, wanted = self._plain_names(), self.places()
        self._check_names(names, wanted)
        self._check_shapes(names, wanted)
        found: dict[str, Any] = {}
        for name, place in wanted.items():
            kinds = [self.tensors[names[part]].dtype.lower() for part in place.parts]
            matrix = place.turned or name in ("wte.weight", "lm_head.weight")
            if packed and matrix and all([kind in tt.QUANTIZED for kind in kinds]):
                found[name] = self._packed(place, kinds, names)
            else:
                found[name] = place.gather(lambda part: self._finite(names[part]))
        return found

    def _packed(self, place: Place, kinds: list[str], names: Mapping[str, str]) -> list[PackedRows]:
        rows = place.gather_rows(lambda part: self.tensors[names[part]].array)
        parts = [PackedRows(kind, array) for kind, array in zip(kinds, rows, strict=True)]
        for part, packed in zip(place.parts, parts, strict=True):
            if not packed.is_finite():
                self._refuse_infinite(names[part])
        return joined(parts)

    def _plain_names(self) -> dict[str, str]:
        """Map from names without prefix to names in the file."""
        names = {self.naming.plain(name): name for name in self.tensors}
        if len(names) < len(self.tensors):
            self._refuse("some tensors come with and without their prefix", "keep one of each")
        return names

    def _check_names(self, names: Mapping[str, str], wanted: Mapping[str, Place]) -> None:
        parts = {part for place in wanted.values() for part in place.parts}
        missing = [part for part in parts if part not in names]
        extra = [
            name
            for part, name in names.items()
            if part not in parts and not self.naming.ignored.fullmatch(part) and not self._is_tied_head(part)
        ]
        if missing or extra:
            self._refuse(
                f"{len(missing)} tensors are missing ({_some(missing)}), "
                f"and {len(extra)} have no place in the model ({_some(extra)})",
                "the weights belong to another model than the config, or a part of the download is missing",
            )

    def _is_tied_head(self, part: str) -> bool:
        """Whether a tensor is a copy of the token embeddings, as some writers store a tied head."""
        head, table = (self.naming.theirs(name)[0] for name in ("lm_head.weight", "wte.weight"))
        if part != head or not self.config.tied_head:
            return False
        names = self._plain_names()
        if table in names and not np.array_equal(
            self.tensors[names[part]].read(), self.tensors[names[table]].read()
        ):
            self._refuse(
                f"{names[part]} differs from {names[table]}, and the config says that they are one",
                'say "tie_word_embeddings": false in config.json',
            )
        return True

    def _check_shapes(self, names: Mapping[str, str], wanted: Mapping[str, Place]) -> None:
        wrong = [
            f"{names[part]} is {self.tensors[names[part]].shape}, not {shape}"
            for place in wanted.values()
            for part, shape in place.shapes().items()
            if self.tensors[names[part]].shape != shape
        ]
        if wrong:
            self._refuse(
                f"{len(wrong)} tensors have other shapes: {_some(wrong)}",
                "the weights belong to another model than the config",
            )

    def _finite(self, name: str) -> Array:
        array = self.tensors[name].read()
        # The sum checks without a copy: it is not finite if any element is not.
        with np.errstate(all="ignore"):
            total = np.add.reduce(array, axis=None)
        if not np.isfinite(total) and not np.isfinite(array).all():
            self._refuse_infinite(name)
        return array

    def _refuse_infinite(self, name: str) -> NoReturn:
        self._refuse(
            f"the tensor {name} holds NaN or infinity",
            "the training that wrote it has failed, or the file is damaged: take an earlier one",
        )

    def _refuse(self, why: str, fix: str) -> NoReturn:
        raise FormatError(f"{self.path} does not hold the weights of its model", why=why, fix=fix)


def _some(names: Iterable[str], at_most: int = 4) -> str:
    """First few names, for messages."""
    listed = sorted(names)
    return ", ".join(listed[:at_most]) + (", …" if len(listed) > at_most else "") or "none"
