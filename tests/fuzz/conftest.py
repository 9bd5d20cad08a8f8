"""Tells how many examples each target ran."""

import pytest

from tests.support.fuzz_settings import examples


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, count in sorted(examples.items()):
        terminalreporter.write_line(f"fuzzed {count} {name}")
