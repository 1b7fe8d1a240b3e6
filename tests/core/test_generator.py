"""The Generator: seeds, offsets, states, threads."""

import json

import numpy as np
import pytest

from tests.helpers.threads import in_threads
from tinytensor.errors import ArgumentError, DTypeError, FormatError
from tinytensor.generator import Generator, default_generator, initial_seed, manual_seed


@pytest.mark.parametrize(
    ("seed", "reduced"), [(0, 0), (-1, 2**64 - 1), (2**64, 0), (2**70 + 5, 5), (np.int64(-2), 2**64 - 2)]
)
def test_any_integer_is_a_seed(seed, reduced):
    assert Generator(seed).seed == reduced
    assert type(Generator().manual_seed(seed).seed) is int


@pytest.mark.parametrize("seed", [1.0, "1", None, True, np.float32(1), [1]])
def test_a_seed_is_an_integer(seed):
    with pytest.raises(DTypeError, match=r"^Generator: "):
        Generator(seed)
    with pytest.raises(DTypeError, match=r"^Generator\.manual_seed: "):
        Generator().manual_seed(seed)
    with pytest.raises(DTypeError, match=r"^manual_seed: "):
        manual_seed(seed)


def test_manual_seed_starts_again():
    generator = Generator(1)
    assert [generator.advance(n) for n in (3, 0, 2)] == [0, 3, 3]
    assert generator.manual_seed(2) is generator
    assert generator.get_state() == {"seed": 2, "offset": 0}


def test_the_offset_wraps():
    generator = Generator()
    generator.set_state({"seed": 0, "offset": 2**64 - 1})
    assert generator.advance(3) == 2**64 - 1
    assert generator.offset == 2


def test_advance_moves_forward_only():
    with pytest.raises(ArgumentError, match=r"^Generator\.advance: n_blocks is -1"):
        Generator().advance(-1)
    with pytest.raises(DTypeError, match=r"^Generator\.advance: "):
        Generator().advance(1.5)


def test_state_survives_json():
    generator = Generator(2**64 - 1)
    generator.advance(2**63 + 1)
    other = Generator()
    other.set_state(json.loads(json.dumps(generator.get_state())))
    assert other.get_state() == generator.get_state() == {"seed": 2**64 - 1, "offset": 2**63 + 1}


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [1, 2],
        {},
        {"seed": 1},
        {"seed": 1, "offset": 2, "more": 3},
        {"seed": 1, "offset": -1},
        {"seed": 2**64, "offset": 0},
        {"seed": 1.0, "offset": 0},
        {"seed": True, "offset": 0},
        {"seed": "1", "offset": 0},
        {1: 2, "seed": 3},
    ],
)
def test_a_wrong_state_is_refused_and_changes_nothing(wrong):
    generator = Generator(4)
    with pytest.raises(FormatError, match=r"^Generator\.set_state: "):
        generator.set_state(wrong)
    assert generator.get_state() == {"seed": 4, "offset": 0}


def test_concurrent_callers_get_different_blocks():
    generator = Generator()
    taken = in_threads(lambda _: [generator.advance(3) for _ in range(2000)], 8)
    assert sorted(n for each in taken for n in each) == list(range(0, 3 * 16_000, 3))


def test_the_default_generator():
    before = default_generator.get_state()
    try:
        assert manual_seed(1337) is default_generator
        assert initial_seed() == 1337
        default_generator.advance(5)
        assert manual_seed(-1).offset == 0
        assert initial_seed() == 2**64 - 1
    finally:
        default_generator.set_state(before)


def test_a_generator_has_no_other_attributes():
    with pytest.raises(AttributeError):
        Generator().position = 3
    with pytest.raises(AttributeError):
        Generator().seed = 3
