from __future__ import annotations

import random
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerodet.detectnet.limits import check_limits
from aerodet.detectnet.settings import settings_of
from aerodet.detectnet.spec import DatasetExportConfig, Experiment, Inference, format_spec, parse_message, parse_spec
from aerodet.detectnet.spec_builder import SpecOptions, build_spec
from aerodet.errors import SpecError

TEXTS = ("", "a", 'say "no"', "back\\slash", "line\nbreak", "über/✈", "# not a comment", "{", "'")


def scalar(field: Any, rng: random.Random) -> Any:
    if field.enum_type is not None:
        return rng.choice(field.enum_type.values).number
    kind = field.cpp_type
    if kind == field.CPPTYPE_STRING:
        return rng.choice(TEXTS)
    if kind == field.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if kind == field.CPPTYPE_FLOAT:
        return float(np.float32(rng.choice([0.1, -2.5e-9, 3e38, float("inf"), rng.gauss(0, 1)])))
    if kind == field.CPPTYPE_DOUBLE:
        return rng.choice([0.1, 1e300, rng.gauss(0, 1)])
    return rng.choice([0, 1, 2**31 - 1] + ([-7] if kind == field.CPPTYPE_INT32 else [2**32 - 1]))


def fill(message: Any, rng: random.Random, share: float) -> Any:
    for field in message.DESCRIPTOR.fields:
        if rng.random() > share:
            continue
        entry = field.message_type if field.message_type and field.message_type.GetOptions().map_entry else None
        if entry is not None:
            value = entry.fields_by_name["value"]
            for key in rng.sample(TEXTS, 2):
                if value.message_type is not None:
                    fill(getattr(message, field.name)[key], rng, share)
                else:
                    getattr(message, field.name)[key] = scalar(value, rng)
        elif field.is_repeated:
            for _ in range(rng.randint(1, 3)):
                if field.message_type is not None:
                    fill(getattr(message, field.name).add(), rng, share)
                else:
                    getattr(message, field.name).append(scalar(field, rng))
        elif field.message_type is not None:
            getattr(message, field.name).SetInParent()
            fill(getattr(message, field.name), rng, share)
        else:
            setattr(message, field.name, scalar(field, rng))
    return message


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([0.3, 0.6, 0.95]),
    st.sampled_from([Experiment, DatasetExportConfig, Inference]),
)
def test_any_message_survives_format_and_parse(seed: int, share: float, kind: Any):
    message = fill(kind(), random.Random(seed), share)

    assert parse_message(format_spec(message), kind) == message


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_checking_any_spec_gives_sentences_and_settings_only_without_faults(seed: int):
    spec = fill(Experiment(), random.Random(seed), 0.9)

    assert all(
        " is " in fault or " ha" in fault or " are " in fault or " maps " in fault for fault in check_limits(spec)
    )
    if check_limits(spec):
        with pytest.raises(SpecError):
            settings_of(spec)


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="abcdefgmodel_config{}:\"'[]#;,.0123456789-\n \x00é", max_size=60))
def test_any_text_parses_or_is_refused_with_its_line(text: str):
    complaint = "s:1: "
    try:
        parse_spec("model_config { " + text, "s")
    except SpecError as error:
        complaint = str(error)
    assert re.match(r"s:[1-9]\d*: .", complaint + ".")


@settings(max_examples=40, deadline=None)
@given(
    width=st.floats(0.1, 2.0),
    rate=st.floats(1e-5, 1e-2),
    side=st.integers(1, 80),
    epochs=st.integers(1, 500),
    eps=st.floats(0.01, 1.0),
)
def test_options_come_back_from_the_text_of_their_spec(width: float, rate: float, side: int, epochs: int, eps: float):
    options = SpecOptions(width=width, max_learning_rate=rate, image_width=16 * side, epochs=epochs, dbscan_eps=eps)

    read = settings_of(parse_spec(format_spec(build_spec(options))))

    assert read.architecture.width == pytest.approx(width, rel=1e-6)
    assert read.training.max_learning_rate == pytest.approx(rate, rel=1e-6)
    assert read.size == (512, 16 * side)
    assert read.training.epochs == epochs
    assert read.clusters[0].dbscan_eps == pytest.approx(eps, rel=1e-6)
