"""The reference computes with NumPy what Keras computes with TAO's layers, straight from the file."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from aerodet.detectnet.model import DetectNet, count_parameters
from aerodet.detectnet.prune import PruneOptions, prune
from aerodet.detectnet.quantize import activation_scales, is_quantized, prepare_qat
from aerodet.errors import DataError, SpecError
from aerodet.tao.weights import read_weights, write_weights

FULL = {1: 64, 2: 128, 3: 256, 4: 512}


def channels(stage: int, width: int) -> int:
    return FULL[stage] // width


class KerasFile:
    """A checkpoint as Keras saves it, with random weights, written without aerodet."""

    def __init__(self, *, layers: int = 18, classes: int = 1, width: int = 1, qat: bool = False, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.layers: dict[str, dict[str, np.ndarray]] = {}
        self.letters = {10: ["a"] * 4, 18: ["ab"] * 4, 34: ["abc", "abcd", "abcdef", "abc"]}[layers]
        self.qat = qat
        self.conv("conv1", 7, 3, channels(1, width))
        inputs = channels(1, width)
        self.scale("input_1", "activation_1")
        for stage, letters in enumerate(self.letters, start=1):
            for letter in letters:
                block, out = f"block_{stage}{letter}", channels(stage, width)
                self.conv(f"{block}_conv_1", 3, inputs, out)
                self.conv(f"{block}_conv_2", 3, out, out)
                if letter == "a":
                    self.conv(f"{block}_conv_shortcut", 1, inputs, out)
                    self.scale(f"{block}_bn_shortcut")
                self.scale(f"{block}_relu_1", f"{block}_bn_2", f"{block}_relu")
                inputs = out
        self.scale(*(f"add_{n + 1}" for n in range(sum(map(len, self.letters)))))
        for head, count in (("output_bbox", 4 * classes), ("output_cov", classes)):
            self.conv(head, 1, inputs, count, norm=False)

    def conv(self, name: str, size: int, inputs: int, outputs: int, *, norm: bool = True) -> None:
        def vector(low: float, high: float) -> np.ndarray:
            return self.rng.uniform(low, high, outputs).astype(np.float32)

        spread = (2 / (size * size * inputs)) ** 0.5
        kernel = self.rng.normal(0, spread, (size, size, inputs, outputs)).astype(np.float32)
        self.layers[name] = {"kernel": kernel, "bias": vector(-0.1, 0.1)}
        if norm:
            bn = "bn_conv1" if name == "conv1" else name.replace("_conv_", "_bn_")
            self.layers[bn] = {
                "gamma": vector(0.5, 1.5),
                "beta": vector(-0.2, 0.2),
                "moving_mean": vector(-0.2, 0.2),
                "moving_variance": vector(0.5, 2.0),
            }

    def scale(self, *names: str) -> None:
        for name in names if self.qat else ():
            self.layers[f"{name}_qdq"] = {"scaling_factor": np.float32(self.rng.uniform(1, 6))}

    def write(self, path: Path, *, inside: str = "model_weights", optimizer: bool = True) -> Path:
        with h5py.File(path, "w") as file:
            group = file.require_group(inside)
            group.attrs["layer_names"] = [name.encode() for name in self.layers]
            for name, weights in self.layers.items():
                group.create_group(name).attrs["weight_names"] = [f"{name}/{key}:0".encode() for key in weights]
                for key, value in weights.items():
                    group[name].create_dataset(f"{name}/{key}:0", data=value)
            if optimizer:
                file.create_dataset("optimizer_weights/training/Adam/iterations:0", data=np.int64(3))
        return path

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run the float network on [N, 3, H, W]; return coverage and boxes."""
        x = self.relu(self.norm("bn_conv1", self.convolve("conv1", images, 2)))
        strides = {1: 2, 2: 2, 3: 2, 4: 1}
        for stage, letters in enumerate(self.letters, start=1):
            for letter in letters:
                block, stride = f"block_{stage}{letter}", strides[stage] if letter == "a" else 1
                y = self.relu(self.norm(f"{block}_bn_1", self.convolve(f"{block}_conv_1", x, stride)))
                y = self.norm(f"{block}_bn_2", self.convolve(f"{block}_conv_2", y, 1))
                if letter == "a":
                    x = self.norm(f"{block}_bn_shortcut", self.convolve(f"{block}_conv_shortcut", x, stride))
                x = self.relu(x + y)
        cov = 1 / (1 + np.exp(-self.convolve("output_cov", x, 1)))
        return cov, self.convolve("output_bbox", x, 1)

    def convolve(self, name: str, x: np.ndarray, stride: int) -> np.ndarray:
        kernel, bias = (self.layers[name][key].astype(np.float64) for key in ("kernel", "bias"))
        pad = kernel.shape[0] // 2
        padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], axis=(2, 3))
        out = np.einsum("nchwyx,yxco->nohw", windows[:, :, ::stride, ::stride], kernel, optimize=True)
        return out + bias[None, :, None, None]

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        w = {key: value.astype(np.float64)[None, :, None, None] for key, value in self.layers[name].items()}
        return w["gamma"] * (x - w["moving_mean"]) / np.sqrt(w["moving_variance"] + 1e-3) + w["beta"]

    @staticmethod
    def relu(x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0)


def contents(path: Path) -> dict[str, np.ndarray]:
    found = {}
    with h5py.File(path) as file:
        file["model_weights"].visititems(
            lambda name, entry: found.update({name: entry[()]}) if isinstance(entry, h5py.Dataset) else None
        )
    return found


@pytest.mark.parametrize(
    ("layers", "classes", "width"), [(18, 1, 2), (10, 2, 4), (34, 1, 4)], ids=["resnet18", "resnet10", "resnet34"]
)
def test_outputs_after_loading_are_those_of_the_keras_layers(tmp_path, layers, classes, width) -> None:
    keras = KerasFile(layers=layers, classes=classes, width=width)
    model = read_weights(keras.write(tmp_path / "model.hdf5"))
    images = np.random.default_rng(1).random((2, 3, 64, 48), np.float32)
    with torch.inference_mode():
        cov, bbox = (out.numpy() for out in model(torch.from_numpy(images)))
    wanted_cov, wanted_bbox = keras.predict(images)
    assert wanted_cov.std() > 1e-3
    np.testing.assert_allclose(cov, wanted_cov, atol=1e-4)
    np.testing.assert_allclose(bbox, wanted_bbox, atol=1e-4)


def test_hdf5_to_torch_to_hdf5_is_the_identity(tmp_path: Path) -> None:
    first = KerasFile().write(tmp_path / "a.hdf5")
    model = read_weights(first)
    assert count_parameters(model)["total"] == 11_197_893
    write_weights(model, tmp_path / "b.hdf5", size=(512, 512))
    before, after = contents(first), contents(tmp_path / "b.hdf5")
    assert before.keys() == after.keys()
    assert all(before[name].dtype == after[name].dtype and (before[name] == after[name]).all() for name in before)


def test_torch_to_hdf5_to_torch_is_the_identity_for_a_pruned_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = prune(DetectNet(layers=18, num_classes=3), PruneOptions(threshold=0.9)).eval()
    write_weights(model, tmp_path / "pruned.hdf5", size=(64, 96))
    again = read_weights(tmp_path / "pruned.hdf5")
    assert count_parameters(again) == count_parameters(model)
    state = again.state_dict()
    assert all(
        torch.equal(value, state[name]) for name, value in model.state_dict().items() if "num_batches" not in name
    )


@pytest.mark.parametrize("options", [{"use_batch_norm": False}, {"all_projections": True}], ids=lambda o: next(iter(o)))
def test_other_forms_of_the_network_go_there_and_back(tmp_path: Path, options: dict) -> None:
    model = DetectNet(layers=18, num_classes=1, width=0.25, **options)
    write_weights(model, tmp_path / "a.hdf5", size=(64, 64))
    again = read_weights(tmp_path / "a.hdf5")
    assert count_parameters(again) == count_parameters(model)
    state = {name: value for name, value in model.state_dict().items() if "num_batches" not in name}
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in state.items())


def test_the_written_file_describes_the_network_to_keras(tmp_path: Path) -> None:
    write_weights(DetectNet(layers=18, num_classes=1), tmp_path / "a.hdf5", size=(544, 960))
    with h5py.File(tmp_path / "a.hdf5") as file:
        config = json.loads(file.attrs["model_config"])["config"]
        stored = file["model_weights"].attrs.get_id("layer_names")
        assert stored.dtype.kind == "S"  # as Keras stores it; other text it could not decode
        names = [name.decode() for name in file["model_weights"].attrs["layer_names"].astype("S")]
        assert file.attrs["keras_version"] == "2.2.4"
    layers = {layer["name"]: layer for layer in config["layers"]}
    assert names == list(layers)
    assert config["input_layers"] == [["input_1", 0, 0]]
    assert [name for name, _, _ in config["output_layers"]] == ["output_bbox", "output_cov"]
    assert layers["input_1"]["config"]["batch_input_shape"] == [None, 3, 544, 960]
    assert layers["conv1"]["config"]["kernel_size"] == [7, 7]
    assert layers["output_cov"]["config"]["activation"] == "sigmoid"
    assert layers["block_4a_conv_1"]["config"]["strides"] == [1, 1]
    seen: set[str] = set()
    for layer in config["layers"]:  # every layer reads from earlier ones
        assert {source for node in layer["inbound_nodes"] for source, *_ in node} <= seen
        seen.add(layer["name"])
    assert [source for source, *_ in layers["add_2"]["inbound_nodes"][0]] == ["block_1b_bn_2", "block_1a_relu"]


def test_a_quantised_checkpoint_brings_its_scales(tmp_path: Path) -> None:
    keras = KerasFile(width=4, qat=True)
    model = read_weights(keras.write(tmp_path / "qat.hdf5"))
    assert is_quantized(model)
    scales = activation_scales(model)
    assert len(scales) == 38
    assert scales["input_1:0"] == keras.layers["input_1_qdq"]["scaling_factor"]
    assert (
        scales["block_3a_bn_shortcut/batchnorm/add_1:0"] == keras.layers["block_3a_bn_shortcut_qdq"]["scaling_factor"]
    )
    with pytest.raises(SpecError, match="fake quantisation is not written for TAO"):
        write_weights(model, tmp_path / "b.hdf5", size=(64, 64))


def test_weights_are_found_wherever_the_model_lies_in_the_file(tmp_path: Path) -> None:
    keras = KerasFile(width=4)
    plain = read_weights(keras.write(tmp_path / "a.hdf5"))
    nested = read_weights(keras.write(tmp_path / "b.hdf5", inside="model_weights/resnet18_nopool_bn", optimizer=False))
    assert all(
        torch.equal(a, b) for a, b in zip(plain.state_dict().values(), nested.state_dict().values(), strict=True)
    )


def test_a_backbone_gets_heads_when_classes_are_named(tmp_path: Path) -> None:
    keras = KerasFile(width=4)
    for head in ("output_bbox", "output_cov"):
        del keras.layers[head]
    keras.write(tmp_path / "a.hdf5")
    with pytest.raises(DataError, match="has no layer output_cov: it is a backbone"):
        read_weights(tmp_path / "a.hdf5")
    assert read_weights(tmp_path / "a.hdf5", num_classes=2).output_bbox.out_channels == 8


def test_a_truncated_file_is_a_clear_error(tmp_path: Path) -> None:
    whole = KerasFile(width=4).write(tmp_path / "a.hdf5").read_bytes()
    for share in (0.0, 0.1, 0.5, 0.99):
        (tmp_path / "a.hdf5").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError, match=r"a\.hdf5 is truncated or no HDF5 file") as caught:
            read_weights(tmp_path / "a.hdf5")
        assert caught.value.exit_code == 2
    with pytest.raises(DataError, match="there is no TAO checkpoint"):
        read_weights(tmp_path / "b.hdf5")


def test_another_network_is_named(tmp_path: Path) -> None:
    def changed(change) -> Path:
        keras = KerasFile(width=4)
        change(keras.layers)
        return keras.write(tmp_path / "a.hdf5")

    cases = {
        r"stages have 2, 2, 2, 1 blocks": lambda layers: layers.pop("block_4b_conv_1"),
        r"lacks layers: block_2a_bn_1;": lambda layers: layers.pop("block_2a_bn_1"),
        r"has layers that the network has not: fc;": lambda layers: layers.update(fc={"kernel": np.zeros((2, 2))}),
        r"conv1/kernel has the shape \(\), which is no convolution's": lambda layers: layers["conv1"].update(
            kernel=np.float32(1)
        ),
        r"layer conv1 has no bias": lambda layers: layers["conv1"].pop("bias"),
        r"block_1a_conv_1/kernel has the shape": lambda layers: layers["block_1a_conv_1"].update(
            kernel=np.zeros((3, 3, 9, 16), np.float32)
        ),
    }
    for sentence, change in cases.items():
        with pytest.raises(DataError, match=sentence):
            read_weights(changed(change))


def test_a_file_without_weights_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.create_group("model_weights")
    with pytest.raises(DataError, match="holds no weights"):
        read_weights(tmp_path / "a.hdf5")


def test_quantised_networks_of_ours_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="write the float model"):
        write_weights(prepare_qat(DetectNet(width=0.25)), tmp_path / "a.hdf5", size=(64, 64))
    assert not list(tmp_path.iterdir())
