"""Versions, stages and releases: ZenML's Model Control Plane and the endpoint's release file, moved together."""
