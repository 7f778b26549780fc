"""What ``farm status`` shows of the steps."""

from farm.cli.jobs import step_rows


def test_steps_are_rows_and_figures_end_in_one_column() -> None:
    blend = {"frames": 12, "mean_ms": 0.5, "p50_ms": 0.4, "p90_ms": 1.0, "p99_ms": 123.456}

    head, row = step_rows({"blend": blend})

    assert [cell.strip() for cell in head] == [
        "step", "frames", "mean ms", "p50 ms", "p90 ms", "p99 ms",
    ]  # fmt: skip
    assert [cell.strip() for cell in row] == ["blend", "12", "0.50", "0.40", "1.00", "123.46"]
    assert [len(cell) for cell in head[1:]] == [len(cell) for cell in row[1:]]


def test_a_farm_of_another_version_may_say_less() -> None:
    _, row = step_rows({"blend": {"frames": 3}})

    assert [cell.strip() for cell in row[:3]] == ["blend", "3", "0.00"]
