"""Load, convert and check the data."""

from typing import Annotated

from zenml import step

from materializers.chat_dataset import ChatDatasetMaterializer
from tuneline.config import DataConfig
from tuneline.data.dataset import ChatDataset
from tuneline.data.load import load_sets


# Never cached: a file may have changed under the same path. What follows is cached by content.
@step(
    enable_cache=False,
    output_materializers={
        "training_set": ChatDatasetMaterializer,
        "evaluation_set": ChatDatasetMaterializer,
    },
)
def load_data(
    data: DataConfig,
) -> tuple[Annotated[ChatDataset, "training_set"], Annotated[ChatDataset, "evaluation_set"]]:
    """Read every source, convert it to chat records, and keep training and evaluation apart."""
    training_set, evaluation_set = load_sets(data)
    return training_set, evaluation_set  # ZenML counts outputs by this literal tuple
