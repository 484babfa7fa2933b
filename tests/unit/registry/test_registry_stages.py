"""Challenger, champion, archived: how versions move, in the embedded registry."""

import shutil

import pytest

from aerodet.errors import RegistryError
from aerodet.registry import ARCHIVED, CHALLENGER, CHAMPION, open_registry
from aerodet.registry._shared import CHAMPIONS, history, numbers

FACTS = {"digests": {}, "metrics": {"ap50": 91.5}, "parameters": {}, "run_id": "run-1"}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A registry with three versions of one model."""
    folder = tmp_path_factory.mktemp("three")
    opened = open_registry(folder / "registry")
    (folder / "model.onnx").write_text("graph")
    for plan in ("one", "two", "three"):
        (folder / "model.engine").write_text(plan)
        opened.publish("aircraft", {name: folder / name for name in ("model.engine", "model.onnx")}, **FACTS)
    return folder / "registry"


@pytest.fixture
def registry(template, tmp_path):
    shutil.copytree(template, tmp_path / "registry")
    return open_registry(tmp_path / "registry")


def stages(registry):
    return [version.stage for version in registry.versions("aircraft")]


def champions(registry):
    return registry._champions("aircraft")


def test_a_published_version_is_a_challenger_until_it_is_promoted(registry):
    assert stages(registry) == [CHALLENGER] * 3
    with pytest.raises(RegistryError, match="no version 'champion'"):
        registry.get("aircraft", CHAMPION)
    made = registry.promote("aircraft", CHALLENGER)
    assert (made.version, made.aliases, made.stage) == (3, (CHALLENGER, CHAMPION), CHAMPION)


def test_the_champion_before_is_archived_and_comes_back_by_one_command(registry):
    for number in (1, 2, 3):
        registry.promote("aircraft", number)
    assert stages(registry) == [ARCHIVED, ARCHIVED, CHAMPION]
    assert registry.rollback("aircraft").version == 2
    assert stages(registry) == [ARCHIVED, CHAMPION, ARCHIVED]
    assert registry.rollback("aircraft").version == 1
    with pytest.raises(RegistryError, match="no earlier champion"):
        registry.rollback("aircraft")
    assert stages(registry) == [CHAMPION, ARCHIVED, ARCHIVED]


def test_a_model_that_was_never_published_has_no_champion_to_go_back_to(registry):
    with pytest.raises(RegistryError, match="no model named 'ships'"):
        registry.rollback("ships")


def test_promoting_brings_an_archived_version_back(registry):
    registry.promote("aircraft", 1)
    registry.promote("aircraft", 2)
    registry.rollback("aircraft")
    assert registry.promote("aircraft", 2).stage == CHAMPION
    assert registry.rollback("aircraft").version == 1


def test_promoting_the_champion_again_changes_nothing(registry):
    registry.promote("aircraft", 1)
    registry.promote("aircraft", 1)
    assert champions(registry) == [1]


def test_a_version_taken_out_of_use_is_passed_over_by_a_rollback(registry):
    for number in (1, 2, 3):
        registry.promote("aircraft", number)
    assert registry.archive("aircraft", 2).stage == ARCHIVED
    assert registry.rollback("aircraft").version == 1


def test_the_champion_cannot_be_archived(registry):
    registry.promote("aircraft", 1)
    with pytest.raises(RegistryError, match="is the champion; promote another or roll back first"):
        registry.archive("aircraft", 1)


@pytest.mark.parametrize(("judged_against", "said"), [(0, "no champion"), (2, "version 2")])
def test_a_promotion_over_another_champion_than_the_one_compared_with_is_refused(registry, judged_against, said):
    registry.promote("aircraft", 1)
    with pytest.raises(RegistryError, match=rf"judged against {said}, but the champion is 1 by now"):
        registry.promote("aircraft", 3, instead_of=judged_against)
    assert champions(registry) == [1]
    assert registry.promote("aircraft", 3, instead_of=1).stage == CHAMPION


def test_an_alias_moved_by_somebody_else_counts(registry):
    registry.promote("aircraft", 1)
    registry._client.set_registered_model_alias("aircraft", CHAMPION, "2")  # in MLflow's own page
    assert stages(registry) == [ARCHIVED, CHAMPION, CHALLENGER]
    assert registry.rollback("aircraft").version == 1


def test_a_promotion_that_was_cut_short_has_not_happened(registry):
    registry.promote("aircraft", 1)
    registry._client.set_registered_model_tag("aircraft", CHAMPIONS, "1 3")  # and then the power failed
    assert stages(registry) == [CHAMPION, CHALLENGER, CHALLENGER]
    registry.promote("aircraft", 2)
    assert champions(registry) == [1, 2]


def test_a_rollback_that_was_cut_short_can_be_given_again(registry, monkeypatch):
    registry.promote("aircraft", 1)
    registry.promote("aircraft", 2)

    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(registry._client, "set_registered_model_alias", fail)
        with pytest.raises(KeyboardInterrupt):
            registry.rollback("aircraft")
    assert registry.get("aircraft", CHAMPION).version == 2
    assert registry.rollback("aircraft").version == 1


@pytest.mark.parametrize(
    ("stored", "current", "expected"),
    [
        ([], None, []),
        ([1, 2], None, []),
        ([], 4, [4]),
        ([1, 2, 3], 3, [1, 2, 3]),
        ([1, 2, 3], 2, [1, 2]),
        ([1, 2, 1, 3], 1, [1, 2, 1]),
        ([1, 2], 5, [1, 2, 5]),
    ],
)
def test_the_list_of_champions_follows_the_alias(stored, current, expected):
    assert history(stored, current) == expected


def test_what_is_no_number_is_no_champion():
    assert numbers("1 2 x -3 4") == [1, 2, 4]
    assert numbers("") == []
