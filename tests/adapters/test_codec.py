"""Does the codec read old versions step by step, and stop at what it cannot believe?"""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given

from counterfoil.adapters.event_store.codec import Codec
from counterfoil.adapters.event_store.upcasters import JsonObject, Upcaster
from counterfoil.domain.errors import CorruptHistory
from counterfoil.domain.value import Event, Text, UnitPrice
from golden_facts import FACTS
from histories import History, histories


class ParcelWeighed(Event):
    """A fact for this test: version 1 said pounds, version 2 grams, version 3 by whom."""

    stored_as = "parcel.weighed.v3"
    grams: int
    by: Text


class ParcelPriced(Event):
    """A fact for this test, with what JSON can write in more ways than one."""

    stored_as = "parcel.priced.v1"
    each: UnitPrice
    note: str


def _in_grams(body: JsonObject) -> JsonObject:
    pounds = body.pop("pounds")
    assert isinstance(pounds, int)
    return {**body, "grams": pounds * 453_592 // 1000}


def _with_scale(body: JsonObject) -> JsonObject:
    return {**body, "by": "unknown scale"}


STEPS = (Upcaster("parcel.weighed.v1", _in_grams), Upcaster("parcel.weighed.v2", _with_scale))
PARCELS = Codec(kinds=(ParcelWeighed,), upcasters=STEPS)


@pytest.mark.parametrize(
    ("stored_as", "body", "fact"),
    [
        ("parcel.weighed.v1", b'{"pounds":2}', ParcelWeighed(grams=907, by="unknown scale")),
        ("parcel.weighed.v2", b'{"grams":907}', ParcelWeighed(grams=907, by="unknown scale")),
        ("parcel.weighed.v3", b'{"grams":9,"by":"Ada"}', ParcelWeighed(grams=9, by="Ada")),
    ],
)
def test_an_old_version_is_read_through_every_step_since(
    stored_as: str, body: bytes, fact: ParcelWeighed
) -> None:
    assert PARCELS.decode(stored_as, body, stream="parcel_1", position=7) == fact


@pytest.mark.parametrize(
    ("stored_as", "body", "problem"),
    [
        ("parcel.weighed.v4", b'{"grams":9,"by":"Ada"}', "unknown to this version"),
        ("parcel.lost.v1", b"{}", "unknown to this version"),
        ("parcel.weighed.v3", b'{"grams":9', "the body is no parcel.weighed.v3"),
        ("parcel.weighed.v3", b'{"grams":"heavy","by":"Ada"}', "grams"),
        ("parcel.weighed.v3", b'{"grams":9,"by":"Ada","colour":"red"}', "colour"),
        ("parcel.weighed.v3", b"\xff", "the body is no parcel.weighed.v3"),
        ("parcel.weighed.v1", b'{"stones":2}', "the body is no parcel.weighed.v1"),
        ("parcel.weighed.v1", b"[1]", "the body is no parcel.weighed.v1"),
    ],
)
def test_what_cannot_be_read_stops_and_says_where(
    stored_as: str, body: bytes, problem: str
) -> None:
    with pytest.raises(CorruptHistory, match=problem) as caught:
        PARCELS.decode(stored_as, body, stream="parcel_1", position=7)
    assert (caught.value.stream, caught.value.position) == ("parcel_1", 7)


def test_what_is_wrong_with_a_body_is_said_without_its_values() -> None:
    with pytest.raises(CorruptHistory) as caught:
        PARCELS.decode(
            "parcel.weighed.v3", b'{"grams":"secret","by":"Ada"}', stream="p", position=1
        )
    assert "secret" not in str(caught.value)


def test_a_step_to_nowhere_is_refused_when_the_codec_is_made() -> None:
    with pytest.raises(ValueError, match=r"parcel\.weighed\.v4, which nobody knows"):
        Codec(kinds=(ParcelWeighed,), upcasters=(Upcaster("parcel.weighed.v3", dict),))


def test_two_steps_from_one_version_are_refused_when_the_codec_is_made() -> None:
    with pytest.raises(ValueError, match="two upcasters"):
        Codec(kinds=(ParcelWeighed,), upcasters=(*STEPS, STEPS[0]))


def test_a_name_without_a_version_is_no_stored_name() -> None:
    with pytest.raises(ValueError, match="no stored name"):
        Codec(kinds=(ParcelWeighed,), upcasters=(Upcaster("parcel.weighed", dict),))


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.stored_as)
def test_a_fact_survives_the_way_to_bytes_and_back(fact: Event) -> None:
    codec = Codec()
    decoded = codec.decode(fact.stored_as, codec.encode(fact), stream="s", position=1)
    assert decoded == fact
    assert codec.encode(decoded) == codec.encode(fact)


@given(histories())
def test_a_fact_is_written_as_pydantic_writes_it(history: History) -> None:
    for fact in (*history, *FACTS):
        assert Codec().encode(fact) == fact.model_dump_json().encode()


@pytest.mark.parametrize("tiny", ["0.0000001", "0.000000000001", "0.0000000"])
def test_a_tiny_decimal_is_written_out(tiny: str) -> None:
    priced = ParcelPriced(each=Decimal(tiny), note='IDE-\u2028\x1f\x7f"é😀')
    assert f'"each":"{tiny}"'.encode() in PARCELS.encode(priced)
    assert PARCELS.encode(priced) == priced.model_dump_json().encode()
