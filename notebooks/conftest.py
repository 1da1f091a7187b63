"""nbval waits 5 seconds for an output and gives up; a busy machine takes longer."""

import pytest


@pytest.hookimpl
def pytest_collection_modifyitems(items):
    for item in items:
        if hasattr(item, "output_timeout"):
            item.output_timeout = 120
