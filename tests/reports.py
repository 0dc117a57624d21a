"""What a Service reports to in tests where no store may fail."""

from __future__ import annotations

import pytest

from greylag.store.base import StoreError


def no_failure(error: StoreError) -> None:
    pytest.fail(f"the store failed: {error}")
