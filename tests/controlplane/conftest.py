"""What is behind an endpoint, in both places where it can be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from zenml.client import Client

    from controlplane.storage import Storage


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, zenml_client: Client) -> Storage:
    """The active stack's artifact store: once on disk, once in an S3 bucket."""
    from controlplane.storage import active_storage

    if request.param == "s3":
        request.getfixturevalue("s3_stack")
    found = active_storage()
    assert found.is_local == (request.param == "local")
    return found


@pytest.fixture
def s3_storage(s3_stack: str) -> Storage:
    """The S3 store alone, for what only happens there."""
    from controlplane.storage import active_storage

    return active_storage()
