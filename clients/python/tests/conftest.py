from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Tracardi runs on asyncio; anyio's plugin runs the tests on it too."""
    return "asyncio"
