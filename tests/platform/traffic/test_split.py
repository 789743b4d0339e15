import doctest
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rayloop.platform import traffic
from rayloop.platform.errors import InvalidInput
from rayloop.platform.traffic import (
    BUCKETS,
    MAX_SHADOWS,
    MAX_VARIANTS,
    Shadow,
    Split,
    Variant,
    app_name,
    app_prefix,
    check_endpoint,
    parse_shadows,
    split,
)


@st.composite
def splits(draw: st.DrawFn) -> Split:
    versions = draw(st.lists(st.integers(1, 99), min_size=1, max_size=MAX_VARIANTS, unique=True))
    cuts = st.lists(st.integers(0, BUCKETS), min_size=len(versions) - 1, max_size=len(versions) - 1)
    bounds = [0, *sorted(draw(cuts)), BUCKETS]
    weights = [high - low for low, high in itertools.pairwise(bounds)]
    pairs = zip(versions, weights, strict=True)
    variants = tuple(Variant(*pair) for pair in pairs)
    copied = draw(st.dictionaries(st.integers(100, 199), st.integers(1, BUCKETS), max_size=MAX_SHADOWS))
    shadows = tuple(Shadow(*pair) for pair in copied.items())
    return Split("digits", variants, draw(st.integers(0, 10**9)), shadows)


def test_public_names_exist_and_are_sorted():
    assert [name for name in traffic.__all__ if not hasattr(traffic, name)] == []
    assert sorted(traffic.__all__) == sorted(set(traffic.__all__))


def test_examples_in_docstrings_hold():
    assert doctest.testmod(split).failed == 0


def test_names_of_an_app():
    assert app_name("digits", 3) == "digits--v3"
    assert app_prefix("a.b_c-d", 12) == "/__v/a.b_c-d--v12"


@pytest.mark.parametrize("endpoint", ["a", "_x", "9lives", "fraud.eu-west_1", "a" * 64, "a--b", "a-v1"])
def test_good_endpoint_names(endpoint):
    assert check_endpoint(endpoint) == endpoint


@pytest.mark.parametrize(
    "endpoint", ["", "a" * 65, "a b", "a/b", "..", ".", "-a", "a--v", "a--v3", "é", "a\n", "a:b", 'a"', "a|b"]
)
def test_bad_endpoint_names(endpoint):
    with pytest.raises(InvalidInput, match="must"):
        check_endpoint(endpoint)


@pytest.mark.parametrize("version", [0, -1, 10**9])
def test_bad_versions(version):
    with pytest.raises(InvalidInput, match="must lie in"):
        app_name("digits", version)


def test_parse_takes_percent_with_two_decimals():
    parsed = Split.parse("digits", ["3=97.25", "4=2.5", " 5=0.25"], revision=2)
    assert parsed.variants == (Variant(5, 25), Variant(4, 250), Variant(3, 9725))
    assert parsed == Split("digits", (Variant(3, 9725), Variant(5, 25), Variant(4, 250)), 2)


@pytest.mark.parametrize(
    ("shares", "sentence"),
    [
        ([], "split of 'digits' has 0 versions, and must have 1 to 8"),
        ([f"{v}=1" for v in range(1, 10)], "split of 'digits' has 9 versions, and must have 1 to 8"),
        (["3=90", "4=5"], "split of 'digits' adds up to 95 %, and must add up to 100 %"),
        (["3=90", "4=10.01"], "split of 'digits' adds up to 100.01 %, and must add up to 100 %"),
        (["3=50", "3=50"], "split of 'digits' names version 3 twice, and may name it once"),
        (["3=101"], "split of 'digits' gives 3=101, and a share must lie in 0..100 %"),
    ],
)
def test_parse_names_the_broken_rule(shares, sentence):
    with pytest.raises(InvalidInput) as error:
        Split.parse("digits", shares, revision=1)
    assert str(error.value) == sentence


@pytest.mark.parametrize("share", ["", "3", "=100", "x=100", "3=", "3=1.234", "3=-1", "0=100", "3=1e2", "3=nan", "3=٩"])
def test_parse_shows_how_a_share_is_written(share):
    with pytest.raises(InvalidInput) as error:
        Split.parse("digits", [share], revision=1)
    assert str(error.value) == (
        f"share {share!r} of 'digits' must be VERSION=PERCENT with up to two decimals, such as 3=90 or 4=2.5"
    )


def test_revision_is_not_negative():
    with pytest.raises(InvalidInput, match="revision -1"):
        Split("digits", (Variant(1, BUCKETS),), -1)


@given(splits())
def test_map_value_comes_back_whole(given_split):
    value = given_split.map_value()
    assert Split.from_map_value("digits", value) == given_split
    assert " " not in value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "7",
        "7|",
        "x|10000:3:10000",
        "7|9000:3:10000",
        "7|1000:3:1000",
        "7|9000:3:9000|10000:4:1000",
        "7|10000:3",
        "7|s:4:10000",
        "7|10000:3:10000|s:",
        "7|10000:3:10000|s:4",
        "7|10000:3:10000|s:4:0",
        "7|10000:3:10000|s:4:10001",
        "7|10000:3:10000|s:3:10000",
        "7|10000:3:10000|s:4:1,5:1",
        "7|s:4:1|10000:3:10000",
    ],
)
def test_foreign_map_values_are_refused(value):
    with pytest.raises(InvalidInput):
        Split.from_map_value("digits", value)


@given(splits())
def test_each_variant_owns_as_many_buckets_as_its_weight(given_split):
    owners = [given_split.variant_of(bucket).version for bucket in range(BUCKETS)]
    assert all(owners.count(variant.version) == variant.weight for variant in given_split.variants)


@pytest.mark.parametrize("bucket", [-1, BUCKETS])
def test_buckets_outside_the_range_are_refused(bucket):
    with pytest.raises(InvalidInput, match=r"must lie in 0\.\.9999"):
        Split.parse("digits", ["1=100"], 1).variant_of(bucket)


def test_ramping_the_newest_version_moves_no_bucket_out_of_it():
    held: set[int] = set()
    for percent in (0, 5, 20, 50, 100):
        ramp = Split.parse("digits", [f"3={100 - percent}", f"4={percent}"], revision=percent)
        now = {bucket for bucket in range(BUCKETS) if ramp.variant_of(bucket).version == 4}
        assert held <= now
        assert len(now) == percent * 100
        held = now


def test_a_value_without_shadows_is_what_it_was_before_there_were_any():
    assert Split.from_map_value("digits", "7|1000:4:1000|10000:3:9000").shadows == ()
    assert Split.parse("digits", ["3=90", "4=10"], 7).map_value() == "7|1000:4:1000|10000:3:9000"


def test_shadows_are_parsed_with_and_without_a_share():
    assert parse_shadows("digits", [" 4 ", "5=2.5"]) == (Shadow(4, BUCKETS), Shadow(5, 250))
    with pytest.raises(InvalidInput, match="share '4=x' of 'digits' must be VERSION=PERCENT"):
        parse_shadows("digits", ["4=x"])


@pytest.mark.parametrize(
    ("shadows", "sentence"),
    [
        ([(v, 1) for v in range(4, 9)], "split of 'digits' has 5 shadows, and may have at most 4"),
        ([(4, 1), (4, 2)], "split of 'digits' names shadow 4 twice, and may name it once"),
        ([(3, 1)], "split of 'digits' has version 3 as a shadow, which has traffic itself"),
        ([(4, 0)], "split of 'digits' copies 4=0, and a shadow's share must lie in 0.01..100 %"),
        ([(4, 10_001)], "split of 'digits' copies 4=100.01, and a shadow's share must lie in 0.01..100 %"),
    ],
)
def test_shadows_name_the_broken_rule(shadows, sentence):
    with pytest.raises(InvalidInput) as error:
        Split("digits", (Variant(3, BUCKETS), Variant(2, 0)), 1, tuple(Shadow(*pair) for pair in shadows))
    assert str(error.value) == sentence


def test_a_version_that_is_kept_without_traffic_may_be_a_shadow():
    assert Split("digits", (Variant(3, BUCKETS), Variant(2, 0)), 1, (Shadow(2, 5),)).shadows == (Shadow(2, 5),)
