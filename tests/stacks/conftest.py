"""The stub serving process, for the tests of this folder."""

from tests.deployer.stub import stub

__all__ = ["stub"]
