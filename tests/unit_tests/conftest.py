"""Unit tests reach no network, not even loopback; event loops need their Unix socket pair."""

import pytest
from pytest_socket import disable_socket


# Runs after pytest-socket's own set-up, which leaves loopback open for the integration tests.
@pytest.fixture(autouse=True)
def _no_network() -> None:
    disable_socket(allow_unix_socket=True)  # lifted by pytest-socket when the test ends
