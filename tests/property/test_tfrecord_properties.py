import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from tfrecord import example_pb2

from aerodet.data._example import decode_example, encode_example

QUICK = settings(max_examples=60, deadline=None)
FLOATS = st.floats(width=32, allow_nan=False)
INTS = st.integers(-(2**63), 2**63 - 1)
FEATURES = st.dictionaries(
    st.text(max_size=12),
    st.one_of(
        st.tuples(st.just(bytes), st.lists(st.binary(max_size=6000), max_size=3)),
        st.tuples(st.just(float), st.lists(FLOATS, max_size=5)),
        st.tuples(st.just(int), st.lists(INTS, max_size=5)),
    ),
    max_size=4,
)


@QUICK
@given(FEATURES)
def test_protobuf_reads_what_we_encode(features) -> None:
    message = example_pb2.Example.FromString(b"".join(encode_example(features)))
    assert set(message.features.feature) == set(features)
    for name, (kind, values) in features.items():
        feature = message.features.feature[name]
        lists = {bytes: "bytes_list", float: "float_list", int: "int64_list"}
        assert feature.WhichOneof("kind") == lists[kind]
        assert list(getattr(feature, lists[kind]).value) == values


@QUICK
@given(FEATURES)
def test_we_decode_what_protobuf_encodes_and_what_we_encode(features) -> None:
    message = example_pb2.Example()
    for name, (kind, values) in features.items():
        lists = {bytes: "bytes_list", float: "float_list", int: "int64_list"}
        getattr(message.features.feature[name], lists[kind]).value.extend(values)
    wanted = {name: list(values) for name, (_, values) in features.items()}
    assert decode_example(message.SerializeToString()) == wanted
    assert decode_example(b"".join(encode_example(features))) == wanted


@QUICK
@given(st.binary(max_size=60))
def test_other_bytes_are_refused_or_read_but_nothing_else_happens(data) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(decode_example(data), dict)
