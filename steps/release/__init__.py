"""Steps of the release stage."""
