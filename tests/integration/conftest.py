"""What all farms of these tests have in common."""

from pathlib import Path

import pytest

from tests.material import two_avatars


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with two small avatars."""
    root = tmp_path_factory.mktemp("data with a space")
    two_avatars(root)
    return root
