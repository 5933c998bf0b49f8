"""Versions: whole or invisible, and one at each stage."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from zenml import save_artifact
from zenml.utils.metadata_utils import log_metadata

from controlplane import versions
from controlplane.versions import RECORD, VersionRecord, at_stage, get_version, list_versions, register, set_stage
from tests.controlplane.registered import MODEL, record_of, registered, stages
from tuneline.errors import UserError
from tuneline.release import BaseRef

if TYPE_CHECKING:
    from zenml.client import Client

pytestmark = pytest.mark.zenml


def test_a_registered_version_reads_back_as_it_was_written_with_its_number_and_its_artifacts(
    zenml_client: Client,
) -> None:
    artifact = save_artifact("a report", "report")
    written = register(MODEL, record_of(report=artifact.id), [artifact.id])
    assert get_version(MODEL, "1") == written
    assert (written.name, written.stage, written.adapter_name) == ("1", "none", "v1")
    unnumbered = record_of(report=artifact.id)
    numbered = unnumbered.adapter.model_copy(update={"model_version": "1"})
    assert written.record == unnumbered.model_copy(update={"adapter": numbered})
    linked = zenml_client.list_model_version_artifact_links(model_version_id=written.id, hydrate=True).items
    assert [link.artifact_version.id for link in linked] == [artifact.id]


def test_a_whole_model_is_served_by_its_own_weights_and_a_record_from_before_there_were_any_by_the_base_model(
    zenml_client: Client,
) -> None:
    whole = BaseRef(model="/adapters/a/merged", sha256="f" * 64)
    record = registered("a", whole_model=whole).record
    assert (record.served_base, record.base.model) == (whole, "/bases/tiny")
    old = record_of().model_dump(mode="json", exclude={"whole_model"})
    assert VersionRecord.model_validate(old).served_base == record_of().base


def test_versions_are_listed_oldest_first_also_beyond_the_ninth(zenml_client: Client) -> None:
    for number in range(10):
        registered(str(number), stage=None)
    assert [version.name for version in list_versions(MODEL)] == [str(number) for number in range(1, 11)]


def test_a_model_whose_name_begins_alike_keeps_its_versions_to_itself(zenml_client: Client) -> None:
    assert list_versions(MODEL) == []
    registered("a", stage="production")
    assert list_versions(f"{MODEL}-next") == list_versions("tin") == []
    register(f"{MODEL}-next", record_of("b"), [])
    assert [version.record.adapter.uri for version in list_versions(MODEL)] == ["/adapters/a"]
    assert at_stage(f"{MODEL}-next", "production") is None


def test_a_version_without_its_record_is_invisible_and_removed_once_nobody_can_be_registering_it_any_more(
    zenml_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = registered("a", stage="production")

    def cut_off(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(versions, "log_metadata", cut_off)
        with pytest.raises(KeyboardInterrupt):
            registered("b")
    half_done = {response.id for response in zenml_client.list_model_versions(MODEL).items} - {first.id}
    assert len(half_done) == 1
    assert list_versions(MODEL) == [first]
    with pytest.raises(UserError, match="no version '2'"):
        get_version(MODEL, "2")

    third = registered("b", stage=None)
    assert list_versions(MODEL) == [first, third]
    assert half_done < {response.id for response in zenml_client.list_model_versions(MODEL).items}

    monkeypatch.setattr(versions, "ABANDONED_AFTER", timedelta(0))
    next_one = registered("c", stage=None)
    assert list_versions(MODEL) == [first, third, next_one]
    assert {response.id for response in zenml_client.list_model_versions(MODEL).items} == {
        first.id,
        third.id,
        next_one.id,
    }


def test_a_stage_has_one_version_and_its_former_holder_is_archived(zenml_client: Client) -> None:
    first, second = registered("a", stage="production"), registered("b", stage="staging")
    assert at_stage(MODEL, "production") == first
    set_stage(second, "production")
    assert stages() == {"1": "archived", "2": "production"}
    assert at_stage(MODEL, "staging") is None
    set_stage(first, "production")
    assert stages() == {"1": "production", "2": "archived"}


def test_asking_for_an_unknown_version_names_those_there_are(zenml_client: Client) -> None:
    with pytest.raises(UserError, match="none yet"):
        get_version(MODEL, "1")
    registered("a")
    registered("b")
    with pytest.raises(UserError, match=r"'tiny' has no version '3' \(versions: 1, 2\)"):
        get_version(MODEL, "3")


def test_a_version_whose_evaluation_broke_is_registered_and_read_like_any_other(zenml_client: Client) -> None:
    registered("a", stage=None, outcome="FAIL", scores={"exact_match": math.nan, "chrf": 0.5})
    (found,) = list_versions(MODEL)
    assert math.isnan(found.record.scores["exact_match"])
    assert found.record.scores["chrf"] == 0.5


def test_a_record_of_a_newer_tuneline_with_more_in_it_is_still_read(zenml_client: Client) -> None:
    version = registered("a", stage=None)
    newer = version.record.model_dump(mode="json") | {"carbon": "12 g"}
    log_metadata({RECORD: newer}, model_name=MODEL, model_version="1")
    assert list_versions(MODEL) == [version]
