"""Stack files become ZenML stacks, stay the same when nothing changed, and are never guessed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
import zenml
from zenml.client import Client
from zenml.enums import StackComponentType

from stacks.apply import StackApplied, activate, apply_stack, list_stacks
from stacks.deployer.deployer import BentoVLLMModelDeployer
from stacks.files import read_stack_file, stack_files
from tuneline.errors import UserError
from tuneline.paths import REPO

pytestmark = pytest.mark.zenml


def written(folder: Path, **changes: Any) -> Path:
    """The local stack's file with other components."""
    content = yaml.safe_load((REPO / "stacks" / "local.yaml").read_text())
    content["components"] |= changes
    file = folder / "changed.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def endpoints(**configuration: Any) -> dict[str, Any]:
    return {"name": "tuneline-endpoints", "flavor": "bentoml_vllm", "configuration": configuration}


def outcomes(applied: StackApplied) -> dict[str, str]:
    return {f"{change.kind} {change.name}": change.outcome for change in applied.changes}


def test_applying_the_local_stack_creates_it_and_twice_changes_nothing(zenml_client: Client) -> None:
    first, second = apply_stack("local"), apply_stack(REPO / "stacks" / "local.yaml")
    assert first.stack == "tuneline-local"
    assert first.changed
    assert outcomes(first) == dict.fromkeys(
        [
            "orchestrator tuneline-local",
            "artifact_store tuneline-local",
            "experiment_tracker tuneline-mlflow",
            "flavor bentoml_vllm",
            "model_deployer tuneline-endpoints",
            "stack tuneline-local",
        ],
        "created",
    )
    assert not second.changed
    assert set(outcomes(second).values()) == {"unchanged"}
    activate("local")
    assert isinstance(zenml_client.active_stack.model_deployer, BentoVLLMModelDeployer)
    assert zenml_client.active_stack.experiment_tracker is not None


def test_a_changed_configuration_is_updated_and_seen_in_this_process_at_once(
    zenml_client: Client, tmp_path: Path
) -> None:
    apply_stack(written(tmp_path, model_deployer=endpoints(port=4711, poll_seconds=3.0)))
    activate("tuneline-local")
    assert zenml_client.active_stack.model_deployer.config.port == 4711  # type: ignore[union-attr]
    applied = apply_stack(written(tmp_path, model_deployer=endpoints(port=4712)))
    assert [name for name, outcome in outcomes(applied).items() if outcome == "updated"] == [
        "model_deployer tuneline-endpoints"
    ]
    config: Any = zenml_client.active_stack.model_deployer.config  # type: ignore[union-attr]
    assert (config.port, config.poll_seconds) == (4712, 0.2)


def test_a_component_that_the_file_dropped_leaves_the_stack_and_stays_registered(
    zenml_client: Client, tmp_path: Path
) -> None:
    apply_stack("local")
    file = written(tmp_path)
    content = yaml.safe_load(file.read_text())
    del content["components"]["experiment_tracker"]
    file.write_text(yaml.safe_dump(content))
    assert outcomes(apply_stack(file))["stack tuneline-local"] == "updated"
    activate("tuneline-local")
    assert zenml_client.active_stack.experiment_tracker is None
    assert zenml_client.list_stack_components(type="experiment_tracker", name="tuneline-mlflow").total == 1
    assert not apply_stack(file).changed


def test_a_flavor_whose_settings_changed_is_updated(zenml_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from stacks.deployer.flavor import BentoVLLMModelDeployerFlavor

    apply_stack("local")
    schema = BentoVLLMModelDeployerFlavor().config_schema
    monkeypatch.setattr(BentoVLLMModelDeployerFlavor, "config_schema", schema | {"title": "newer"})
    assert outcomes(apply_stack("local"))["flavor bentoml_vllm"] == "updated"
    assert outcomes(apply_stack("local"))["flavor bentoml_vllm"] == "unchanged"
    found = zenml_client.get_flavor_by_name_and_type("bentoml_vllm", StackComponentType.MODEL_DEPLOYER)
    assert found.config_schema["title"] == "newer"


@pytest.mark.parametrize(
    ("component", "said"),
    [
        ({"name": "tuneline-endpoints", "flavor": "bentoml_vlm"}, "bentoml_vlm"),
        (endpoints(prt=1), "prt"),
        (endpoints(port=99999), "port"),
        (endpoints(target="kubernets"), "'kubernetes'"),
        (endpoints(target="kubernetes"), "target: kubernetes needs a section kubernetes"),
        (endpoints(kubernetes={"image": "x"}), "target: local has no use for the section kubernetes"),
        (endpoints(target="kubernetes", kubernetes={"image": "x"}, url="http://x"), "url is for endpoints that"),
        (endpoints(target="kubernetes", kubernetes={"image": "x", "replica": 2}), "kubernetes.replica"),
        (endpoints(target="bentocloud", bentocloud={}), "bentocloud.instance_type"),
        ({"name": "tuneline-endpoints", "flavor": "mlflow"}, "the file says 'mlflow'"),
    ],
)
def test_a_component_that_cannot_be_made_is_named_with_its_file(
    zenml_client: Client, tmp_path: Path, component: dict[str, Any], said: str
) -> None:
    apply_stack("local")
    file = written(tmp_path, model_deployer=component, orchestrator={"name": "not-yet", "flavor": "local"})
    with pytest.raises(UserError, match=said) as failure:
        apply_stack(file)
    assert str(file) in failure.value.what
    assert "model_deployer" in failure.value.what
    assert zenml_client.list_stack_components(type="orchestrator", name="not-yet").total == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"stack_name: [", "not YAML"),
        (b"\x89PNG\r\n\xff", "not YAML"),
        (b"stack_name: x", "components: Field required"),
        (b"- a", "Input should be"),
        (b"stack_name: x\ncomponents: {artifact_stor: {name: a, flavor: local}}", "artifact_stor"),
        (b"stack_name: x\ncomponents: {artifact_store: {name: a, flavour: local}}", "artifact_store.0.flavour"),
    ],
)
def test_a_file_that_is_no_stack_file_says_what_is_wrong_and_which_files_there_are(
    tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError, match=said) as failure:
        apply_stack(file)
    assert "local (stacks/local.yaml)" in failure.value.hint


def test_a_file_that_is_not_there_is_an_error_that_lists_those_that_are() -> None:
    with pytest.raises(UserError, match=r"no stack file 'nope\.yaml'") as failure:
        apply_stack("nope.yaml")
    assert "local (stacks/local.yaml)" in failure.value.hint


def test_a_missing_stack_is_an_error_and_nothing_else_is_chosen(zenml_client: Client) -> None:
    apply_stack("local")
    before = zenml_client.active_stack_model.id
    with pytest.raises(UserError, match=r"no stack 'nope'; ZenML knows .*tuneline-local"):
        activate("nope")
    with pytest.raises(UserError, match="no stack 'tuneline-locl'") as failure:
        activate("tuneline-locl")
    assert "Did you mean 'tuneline-local'" in failure.value.hint
    with pytest.raises(UserError, match="no stack 'team'") as failure:
        activate("team")
    assert "python run.py stack apply stacks/team.yaml" in failure.value.hint
    assert "ZENML_ACTIVE_STACK_ID" not in os.environ
    assert zenml_client.active_stack_model.id == before


def test_a_part_of_a_name_chooses_nothing(zenml_client: Client) -> None:
    apply_stack("local")
    with pytest.raises(UserError, match="no stack 'tuneline'"):
        activate("tuneline")


def test_choosing_a_stack_is_for_this_process_and_leaves_the_users_choice(zenml_client: Client, tmp_path: Path) -> None:
    apply_stack("local")
    chosen = activate("tuneline-local")
    assert chosen.active
    assert zenml_client.active_stack_model.name == "tuneline-local"
    # ZenML makes an updated stack the user's if it is the chosen one
    assert apply_stack(written(tmp_path, model_deployer=endpoints(port=4711))).changed
    assert zenml_client.active_stack_model.name == "tuneline-local"
    who = "from zenml.client import Client; print('stack:', Client().active_stack_model.name)"
    users = {name: value for name, value in os.environ.items() if name != "ZENML_ACTIVE_STACK_ID"}
    other = subprocess.run([sys.executable, "-c", who], env=users, capture_output=True, text=True, check=True, cwd=REPO)
    assert "stack: default" in other.stdout


def test_the_list_shows_registered_stacks_and_files_that_wait(zenml_client: Client) -> None:
    apply_stack("local")
    activate("local")
    stacks = {stack.name: stack for stack in list_stacks()}
    assert stacks["tuneline-local"].registered
    assert stacks["tuneline-local"].active
    assert stacks["tuneline-local"].file == "stacks/local.yaml"
    assert stacks["tuneline-local"].components["model_deployer"] == "tuneline-endpoints (bentoml_vllm)"
    assert (stacks["default"].registered, stacks["default"].active, stacks["default"].file) == (True, False, None)
    assert (stacks["tuneline-team"].registered, stacks["tuneline-team"].file) == (False, "stacks/team.yaml")
    assert set(asdict(stacks["default"])) == {"name", "registered", "active", "file", "components"}


@pytest.mark.parametrize("name", sorted(stack_files()))
def test_every_stack_file_of_the_repository_can_be_applied(zenml_client: Client, name: str) -> None:
    file = read_stack_file(name)
    assert file.zenml_version == zenml.__version__  # or `zenml stack import` refuses it
    assert file.stack_name == f"tuneline-{name}"
    for secret, key in (("tuneline-mlflow", "token"), ("tuneline-ssh", "key")):
        zenml_client.create_secret(secret, values={key: "x"})
    assert apply_stack(name).changed
    assert not apply_stack(name).changed
    exported = zenml_client.get_stack(file.stack_name).to_yaml()
    assert exported["stack_name"] == file.stack_name
    assert {kind: [entry["name"] for entry in entries] for kind, entries in exported["components"].items()} == {
        kind.value: [entry.name for entry in entries] for kind, entries in file.components.items()
    }


def test_a_cluster_target_is_kept_with_its_settings_and_refuses_a_local_artifact_store(
    zenml_client: Client, tmp_path: Path
) -> None:
    settings = {"image": "registry.example.com/tuneline-endpoint:0.1", "tolerations": [{"operator": "Exists"}]}
    file = written(tmp_path, model_deployer=endpoints(target="kubernetes", kubernetes=settings))
    assert apply_stack(file).changed
    assert not apply_stack(file).changed
    activate("tuneline-local")
    deployer = zenml_client.active_stack.model_deployer
    assert isinstance(deployer, BentoVLLMModelDeployer)
    assert deployer.config.kubernetes is not None
    assert deployer.config.kubernetes.model_dump(exclude_unset=True) == settings
    with pytest.raises(UserError, match="endpoints cannot read") as failure:
        deployer.ensure_live("tiny", str(tmp_path / "tuneline" / "endpoints" / "tiny"))
    assert failure.value.exit_code == 2
    with pytest.raises(UserError, match=r"python run\.py deploy"):
        deployer.deploy_model(deployer.service_config("tiny", str(tmp_path)))


def test_a_secret_that_is_missing_is_named(zenml_client: Client) -> None:
    with pytest.raises(UserError, match="The secret tuneline-mlflow does not exist"):
        apply_stack("team")


def test_what_zenml_exports_can_be_applied(zenml_client: Client, tmp_path: Path) -> None:
    apply_stack("local")
    file = tmp_path / "exported.yaml"
    file.write_text(yaml.safe_dump(zenml_client.get_stack("tuneline-local").to_yaml()))
    assert not apply_stack(file).changed
