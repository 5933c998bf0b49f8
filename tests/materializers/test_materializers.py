"""Artifacts come back as they were given, and the page of each shows what its reader looks for."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from zenml import save_artifact
from zenml.artifacts.utils import load_artifact_visualization
from zenml.enums import VisualizationType

from controlplane.bases import whole_model_ref
from controlplane.storage import active_storage
from controlplane.versions import Version
from materializers.adapter import AdapterMaterializer
from materializers.chat_dataset import ChatDatasetMaterializer
from materializers.evaluation_report import EvaluationReportMaterializer
from materializers.parity_report import ParityReportMaterializer
from materializers.verdict import VerdictMaterializer
from steps.evaluation.champion import champion_subject
from tests.controlplane.registered import record_of
from tests.evaluation.pages import Page, comparison_of, item_of, report_with, rule_of, suite_of, verdict_of
from tuneline.config import ModelConfig
from tuneline.data.dataset import ChatDataset, Quarantined
from tuneline.data.records import ChatRecord, Message
from tuneline.evaluation.report import EvaluationReport
from tuneline.gate.verdict import Verdict
from tuneline.release.files import ADAPTER_FILES, fetch, fingerprint
from tuneline.release.parity import GoldenPrompt, ParityReport, PromptParity
from tuneline.training.adapter import LoraAdapter

if TYPE_CHECKING:
    from zenml.client import Client
    from zenml.models import ArtifactVersionResponse

pytestmark = pytest.mark.zenml

SCRIPT = "<script>alert('é')</script>"
# JSON's and HTML's own characters, line ends that a text file might change, and what is not ASCII.
AWKWARD = f'{SCRIPT} "a" & \\b\r\nc\u2028d é 漢 \x00 {{{{name}}}}'


def keep(value: Any, materializer: type) -> ArtifactVersionResponse:
    """Save a value as a step would, its page included."""
    return save_artifact(value, "thing", materializer=materializer)


def page_of(artifact: ArtifactVersionResponse, client: Client) -> Page:
    """The artifact's only page, fetched the way the dashboard does."""
    (shown,) = artifact.visualizations or []
    assert shown.type == VisualizationType.HTML
    return Page(str(load_artifact_visualization(artifact, 0, client.zen_store).value))


def snapshot(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Every file's contents, time of change and mode."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns, p.stat().st_mode) for p in files}


def dataset() -> ChatDataset:
    """Records and quarantine with everything awkward in them."""
    turns = [Message(role="system", content="Be brief."), Message(role="user", content=f"Question? {AWKWARD}")]
    return ChatDataset(
        records=[
            ChatRecord(
                id=f"r{SCRIPT}",
                source=f"git/{SCRIPT}",
                messages=[*turns, Message(role="assistant", content=f"Answer! {AWKWARD}", weight=0.5)],
                tools=[{"name": "log", "enum": ["é", None]}],
            ),
            ChatRecord(id="r2", source="git/log", messages=[*turns, Message(role="assistant", content="")]),
        ],
        quarantined=[
            Quarantined(file=f"my {SCRIPT}.json", line=1234, reason=f"no answer {SCRIPT}", excerpt=AWKWARD),
            Quarantined(file="hub", line=None, reason="empty", excerpt=""),
        ],
    )


def report() -> EvaluationReport:
    """A report whose candidate gains on one question and loses on another."""
    sources = ["git/log", "git/log", f"helm/{SCRIPT}", "helm/list"]
    items = [item_of(place, source=source) for place, source in enumerate(sources)]
    items[2] = item_of(2, AWKWARD, sources[2], id=f"i2{SCRIPT}", reference=AWKWARD)
    plain = suite_of(
        {"base": [0.0, 0.0, 1.0, 0.0], "champion": [1.0, 0.0, 1.0, 0.0], "candidate": [1.0, 1.0, 0.0, 1.0]}, items=items
    )
    subjects = []
    for subject in plain.subjects:
        results = list(subject.results)
        results[2] = results[2].model_copy(update={"completion": f"{subject.role} answers {AWKWARD}"})
        subjects.append(subject.model_copy(update={"results": tuple(results)}))
    guard = suite_of({"base": [1.5], "candidate": [0.82]}, name="style", metric="perplexity", role="guard")
    golden = GoldenPrompt(id="i0", prompt_ids=(1, 2), completion_ids=(3,), logprobs=(-0.1,), base_logprobs=(-9.0,))
    suites = (plain.model_copy(update={"subjects": tuple(subjects)}), guard)
    return report_with(*suites, base_model=f"tiny {SCRIPT}", golden=(golden,))


def verdict(sentence: str | None = None) -> Verdict:
    """A verdict with a target that passed and a guard that did not."""
    target = rule_of(comparison_of(), comparison_of(0.6, opponent="base", opponent_version=None))
    lost = comparison_of(-0.2, 0.05, outcome="FAIL")
    guard = rule_of(lost, suite="style", role="guard", metric="perplexity", threshold=-0.02, outcome="FAIL")
    given = verdict_of(target, guard, outcome="FAIL", sentence="The candidate does not pass.")
    return given if sentence is None else given.model_copy(update={"sentence": sentence})


def parity(difference: float = 0.0123) -> ParityReport:
    """A comparison of two golden prompts."""
    prompts = (
        PromptParity(id=f"first {SCRIPT}", tokens=7, difference=0.00077, largest=0.0042, from_base=3.21, moved=3.2),
        PromptParity(id="second", tokens=11, difference=difference, largest=0.91, from_base=8.765, moved=8.7),
    )
    return ParityReport(model_version="3", tolerance=0.1, prompts=prompts)


@pytest.mark.parametrize(
    ("value", "materializer"),
    [
        pytest.param(dataset(), ChatDatasetMaterializer, id="data set"),
        pytest.param(ChatDataset(records=[]), ChatDatasetMaterializer, id="empty data set"),
        pytest.param(report(), EvaluationReportMaterializer, id="report"),
        pytest.param(verdict(AWKWARD), VerdictMaterializer, id="verdict"),
        pytest.param(parity(), ParityReportMaterializer, id="parity"),
    ],
)
def test_what_is_loaded_equals_what_was_saved(store: Client, value: Any, materializer: type) -> None:
    artifact = keep(value, materializer)
    assert artifact.uri.startswith(store.active_stack.artifact_store.path)
    loaded = artifact.load()
    assert type(loaded) is type(value)
    assert loaded == value
    assert keep(loaded, materializer).content_hash == artifact.content_hash
    assert list(Path(tempfile.gettempdir()).iterdir()) == []  # its own, see the fixture


def test_an_adapter_comes_back_with_all_its_files_and_the_callers_folder_stays_as_it_was(
    store: Client, adapter: LoraAdapter
) -> None:
    before = snapshot(adapter.folder)
    artifact = keep(adapter, AdapterMaterializer)
    loaded = artifact.load()
    assert loaded.folder != adapter.folder
    assert (loaded.sha256, loaded.rank) == (adapter.sha256, 8)
    assert (loaded.config, loaded.training, loaded.curve) == (adapter.config, adapter.training, adapter.curve)
    assert artifact.content_hash == adapter.sha256
    (loaded.folder / "adapter_model.safetensors").write_bytes(b"changed by a later step")
    assert snapshot(adapter.folder) == before
    assert artifact.load().sha256 == adapter.sha256


def test_an_adapters_artifact_is_a_folder_that_the_engine_loads_from_as_it_is(
    store: Client, adapter: LoraAdapter, tmp_path: Path
) -> None:
    from controlplane.storage import active_storage
    from tuneline.release.files import fetch

    artifact = keep(adapter, AdapterMaterializer)
    fetched = fetch(artifact.uri, adapter.sha256, tmp_path / "cache", ADAPTER_FILES, active_storage().options)
    assert sorted(path.name for path in fetched.iterdir()) == sorted(ADAPTER_FILES)


def test_a_whole_model_lies_in_the_store_as_files_and_is_not_copied_where_it_can_be_read(
    store: Client, adapter: LoraAdapter, tmp_path: Path
) -> None:
    plain = keep(adapter, AdapterMaterializer)
    merged = adapter.folder / "merged"
    (merged / "deep").mkdir(parents=True)
    (merged / "config.json").write_text("{}")
    (merged / "deep" / "model.safetensors").write_bytes(bytes(range(256)))
    artifact = keep(adapter, AdapterMaterializer)
    assert artifact.content_hash != plain.content_hash
    assert artifact.run_metadata["whole_model_sha256"] == adapter.merged_sha256
    loaded = artifact.load()
    assert (loaded.sha256, loaded.merged_sha256) == (adapter.sha256, adapter.merged_sha256)
    here = store.active_stack.artifact_store.config.is_local
    assert loaded.merged is not None and loaded.merged.is_symlink() == here
    ref = whole_model_ref(loaded, artifact.uri, ModelConfig(base="org/model"))
    assert ref is not None and ref.sha256 is not None
    fetched = fetch(ref.model, ref.sha256, tmp_path / "cache", storage_options=active_storage().options)
    assert sorted(p.name for p in fetched.rglob("*") if p.is_file()) == ["config.json", "model.safetensors"]

    record = record_of(whole_model=ref)
    in_store = record.adapter.model_copy(update={"uri": artifact.uri, "sha256": adapter.sha256})
    record = record.model_copy(update={"adapter": in_store})
    version = Version(model="m", name="1", id=UUID(int=1), stage="production", record=record)
    champion = champion_subject(version, tmp_path / "scratch")
    assert fingerprint(champion.folder, ADAPTER_FILES) == champion.sha256 == adapter.sha256
    assert champion.whole is not None and fingerprint(champion.whole) == champion.whole_sha256 == adapter.merged_sha256
    assert (tmp_path / "scratch").exists() != here


def test_different_values_have_different_content_hashes(store: Client) -> None:
    one, other = dataset(), ChatDataset(records=dataset().records[:1])
    assert keep(one, ChatDatasetMaterializer).content_hash != keep(other, ChatDatasetMaterializer).content_hash
    assert (
        keep(parity(), ParityReportMaterializer).content_hash
        != keep(parity(0.02), ParityReportMaterializer).content_hash
    )


def test_a_score_that_is_no_number_survives_for_the_gate_to_refuse_it(store: Client) -> None:
    broken = report_with(suite_of({"base": [0.0, 1.0], "candidate": [1.0, math.nan]}))
    artifact = keep(broken, EvaluationReportMaterializer)
    loaded = artifact.load()
    assert math.isnan(loaded.lead.subject("candidate").results[1].scores["exact_match"])
    assert page_of(artifact, store).text.startswith("Evaluation")


def test_an_adapters_page_draws_the_loss_and_names_the_adapter(store: Client, adapter: LoraAdapter) -> None:
    artifact = keep(adapter, AdapterMaterializer)
    page = page_of(artifact, store)
    assert {"svg", "polyline"} <= set(page.tags)
    assert adapter.sha256 in page.text
    assert "200 steps, 1,600 conversations, 54,321 supervised tokens, final loss 0.016" in page.text
    assert "lora_alpha 16" in page.text
    assert {name: artifact.run_metadata[name] for name in ("sha256", "rank", "steps")} == {
        "sha256": adapter.sha256,
        "rank": 8,
        "steps": 200,
    }


def test_a_data_sets_page_shows_records_and_what_was_left_out_with_file_line_and_reason(store: Client) -> None:
    artifact = keep(dataset(), ChatDatasetMaterializer)
    page = page_of(artifact, store)
    assert "2 records, 2 rows in quarantine" in page.text
    assert f"Quarantine: 2 file line reason begins with my {SCRIPT}.json 1234 no answer {SCRIPT}" in page.text
    for shown in ("Question?", "Answer!", f"git/{SCRIPT}", "system: Be brief."):
        assert shown in page.text
    assert "svg" in page.tags
    assert artifact.run_metadata["records"] == artifact.run_metadata["quarantined"] == 2


def test_a_reports_page_shows_the_scores_and_the_answers_side_by_side(store: Client) -> None:
    artifact = keep(report(), EvaluationReportMaterializer)
    page = page_of(artifact, store)
    for scores in ("base 25.0", "champion (version 3) 50.0", "candidate 75.0"):
        assert scores in page.text
    assert "Worse than champion (version 3): 1" in page.text
    assert "Better than champion (version 3): 2" in page.text
    for role in ("base", "champion", "candidate"):
        assert f"{role} answers <script>" in page.text
    names = ("items", "candidate exact_match", "base style/perplexity")
    assert [artifact.run_metadata[name] for name in names] == [5, 0.75, 1.5]


def test_a_verdicts_page_begins_with_outcome_and_sentence_and_draws_the_intervals(store: Client) -> None:
    given = verdict()
    artifact = keep(given, VerdictMaterializer)
    page = page_of(artifact, store)
    assert page.text.startswith("Verdict: FAIL")
    assert given.sentence in page.text
    assert page.tags.count("circle") == 3
    for drawn in ("against the base model +60.0 [+50.0 to +70.0]", "(version 3) -0.200 [-0.250 to -0.150]"):
        assert drawn in page.text
    names = ("outcome", "sentence", "target heldout", "guard style")
    assert [artifact.run_metadata[name] for name in names] == ["FAIL", given.sentence, "PASS", "FAIL"]


@pytest.mark.parametrize(("difference", "result"), [(0.0123, "passed"), (0.5, "refused")])
def test_a_parity_page_says_the_result_and_lists_the_largest_difference_first(
    store: Client, difference: float, result: str
) -> None:
    given = parity(difference)
    artifact = keep(given, ParityReportMaterializer)
    page = page_of(artifact, store)
    assert page.text.startswith(f"Parity: {result}")
    assert given.sentence in page.text
    assert f"second 11 {difference:.5f} 0.91000 8.765 first {SCRIPT} 7 0.00077 0.00420 3.210" in page.text
    assert artifact.run_metadata["passed"] == given.passed


@pytest.mark.parametrize("store", ["local"], indirect=True)  # the page is the same anywhere
def test_what_people_wrote_is_text_in_every_page_and_never_markup(store: Client, adapter: LoraAdapter) -> None:
    artifacts = [
        keep(adapter, AdapterMaterializer),
        keep(dataset(), ChatDatasetMaterializer),
        keep(report(), EvaluationReportMaterializer),
        keep(verdict(SCRIPT), VerdictMaterializer),
        keep(parity(), ParityReportMaterializer),
    ]
    for artifact in artifacts:
        page = page_of(artifact, store)
        assert "<script>" in page.text, "the text was to be shown"
        assert "script" not in page.tags
