"""docs/developers/op_coverage.md says what the registry and the op table say."""

from tests.helpers.op_coverage import PATH, table


def test_the_table_is_up_to_date() -> None:
    assert PATH.read_text(encoding="utf-8") == table(), "run: python -m tests.helpers.op_coverage"
