"""The stub and the deployer that starts it, for the tests of this folder."""

from tests.deployer.stub import deployer, folder, stub

__all__ = ["deployer", "folder", "stub"]
