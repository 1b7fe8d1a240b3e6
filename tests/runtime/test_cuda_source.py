"""The text of a .cu file for device compilation: conditions of the preprocessor."""

import pytest

from tinytensor.runtime.cuda_source import active, type_names


@pytest.mark.parametrize(
    ("condition", "is_kept"),
    [
        ("A == 3", True),
        ("!defined(Q) && B == 4", True),
        ("!A == 0", True),  # (!A) == 0
        ("1 << 40 > 5 && -7 / 2 == -3 && -7 % 2 == -1", True),
        ("0x10UL != 16 || A < 2", False),
        ("Q", False),
        # Not known, so both branches are kept.
        ("__CUDA_ARCH__ >= 700", True),
        ("1 / 0", True),
        ("9 ** 9 ** 9 ** 9", True),
        ("(" * 1000, True),
        ("BOMB0", True),
    ],
)
def test_conditions_are_those_of_the_preprocessor(condition, is_kept):
    bombs = "".join(f"#define BOMB{i} BOMB{i + 1} + BOMB{i + 1} + BOMB{i + 1}\n" for i in range(30))
    text = f"#define A 3\n#define B (A + 1)\n{bombs}#if {condition}\nint kept;\n#endif\nint after;\n"
    found = active(text)
    assert ("int kept;" in found) == is_kept
    assert found.count("\n") == text.count("\n")
    assert "int after;" in found


def test_other_names_of_types():
    text = "typedef float real;\nusing index = unsigned int;\ntemplate <class T> using same = T;\n"
    text += "#define FLOAT float\n"
    assert type_names(text) == {"real": "float", "index": "unsigned int", "FLOAT": "float"}
