import pytest

from aerodet.errors import SpecError
from aerodet.tao import DEPLOY_IMAGE, FLAGS, TRAIN_IMAGE, Command, TaoFlow


def test_every_flag_of_the_flow_is_in_the_tables() -> None:
    used = {(c.group, c.subtask, flag) for c in TaoFlow().commands() for flag in c.options}
    assert len(used) > 40
    assert all(flag in FLAGS[group][subtask] for group, subtask, flag in used)
    tasks = {(group, subtask) for group, subtask, _ in used}
    assert tasks >= {("model", t) for t in ("dataset_convert", "train", "evaluate", "prune", "export")}
    assert tasks >= {("deploy", t) for t in ("gen_trt_engine", "evaluate", "inference")}


def test_a_command_for_the_launcher_and_for_the_container() -> None:
    command = Command("model", "train", {"-e": "a b.txt", "-r": "/r", "--gpus": 2, "--use_amp": True, "-v": False})
    assert command.launcher() == "tao model detectnet_v2 train -e 'a b.txt' -r /r --gpus 2 --use_amp"
    assert command.words() == ["detectnet_v2", "train", "-e", "a b.txt", "-r", "/r", "--gpus", "2", "--use_amp"]
    assert command.image == TRAIN_IMAGE
    assert Command("deploy", "inference", {"-e": "e", "-m": "m", "-r": "r"}).image == DEPLOY_IMAGE


def test_images_are_pinned_and_not_the_latest() -> None:
    for image in (TRAIN_IMAGE, DEPLOY_IMAGE):
        name, _, tag = image.partition(":")
        assert name == "nvcr.io/nvidia/tao/tao-toolkit"
        assert tag[0].isdigit()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("model", "trian", {}), "no `tao model detectnet_v2 trian`; the subtasks are dataset_convert, train"),
        (("deploy", "train", {}), "no `tao deploy detectnet_v2 train`"),
        (("model", "train", {"-e": "e"}), "needs -r"),
        (("model", "prune", {"-pm": "m"}), "has no flag -pm; it has -m, -o"),
        (("model", "prune", {"-m": "m", "-o": "o", "-n": "max2"}), "-n is one of max, L2, not max2"),
        (("model", "train", {"-e": "e", "-r": "r", "--use_amp": 1}), "--use_amp is a switch and takes no value"),
        (("model", "train", {"-e": "e", "-r": "r", "-k": True}), "-k needs a value"),
    ],
)
def test_what_a_container_does_not_know_is_refused(arguments: tuple, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        Command(*arguments)
