"""Put the tiny base model where configs look for it."""

from pathlib import Path

from zenml import step

from tuneline.config import PretrainingConfig
from tuneline.pretraining.recipe import install


@step(enable_cache=False)
def install_base(base_model: Path, config: PretrainingConfig) -> None:
    """Replace the folder at ``output`` with the new model, whole."""
    install(base_model, Path(config.output))
