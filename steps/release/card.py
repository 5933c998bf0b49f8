"""Write the candidate's card, before it becomes a version: a registered version always has one."""

from typing import Annotated

from zenml import get_step_context, step
from zenml.io import fileio

from materializers.model_card import ModelCardMaterializer
from tuneline.card import ModelCard, to_markdown
from tuneline.card.write import write_card as card_of
from tuneline.config import Config
from tuneline.data.dataset import ChatDataset
from tuneline.evaluation.report import EvaluationReport
from tuneline.gate.verdict import Verdict
from tuneline.training.adapter import LoraAdapter


@step(enable_cache=False, output_materializers={"model_card": ModelCardMaterializer})
def write_card(
    adapter: LoraAdapter,
    training_set: ChatDataset,
    evaluation_set: ChatDataset,
    evaluation_report: EvaluationReport,
    verdict: Verdict,
    config: Config,
    base_sha256: str,
    training_key: str,
) -> Annotated[ModelCard, "model_card"]:
    """Write the card as an artifact, and as README.md into the adapter's folder, which may travel without ZenML.

    Two versions of one adapter (trained once, judged twice) share its folder, which has the card of the later one.
    """
    card = card_of(
        config,
        adapter,
        training_set.summary(),
        evaluation_set.summary(),
        evaluation_report,
        verdict,
        base_sha256=base_sha256,
        training_key=training_key,
    )
    with fileio.open(f"{get_step_context().inputs['adapter'][0].uri}/README.md", "w") as file:
        file.write(to_markdown(card))
    print(f"card: {len(card.limits)} limits, licence {card.license or 'unknown'}", flush=True)
    return card
