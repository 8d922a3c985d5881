"""Which Accept header chooses a format, and which one leaves the response JSON with the verdict's status."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdi_health.formats import FORMATS, choose, choose_metrics


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        ("application/json", "json"),
        ("application/health+json", "health"),
        ("APPLICATION/HEALTH+JSON;q=0.5", "health"),
        ("text/plain", "text"),
        ("application/openmetrics-text; version=1.0.0", "openmetrics"),
        ("image/svg+xml", "badge"),
        ("*/*", "json"),
        ("text/html", "json"),
        ("text/plain, */*", "json"),
        ("application/vnd.x+json", "json"),
        (None, "json"),
        ("", "json"),
        (";", "json"),
        # E05: a list, also one behind parameters
        ("application/openmetrics-text;version=1.0.0,*/*;q=0.1", "json"),
        ("application/openmetrics-text,application/openmetrics-text", "json"),
        ("text/plain,", "json"),
        (",text/plain", "json"),
        ('text/plain;x="a"b,image/svg+xml', "json"),
        ('image/svg+xml;x="', "json"),
        ('image/svg+xml;x="a,b"', "badge"),
        ('image/svg+xml ; x="\\"" ;', "badge"),
        ("image/svg+xml;q=0", "json"),
        ("image/svg+xml; Q=0.000", "json"),
        ("image/svg+xml;x=1;q=0.", "json"),
        ("image/svg+xml;q=0.001", "badge"),
        ("image/svg+xml;q=1.000", "badge"),
        ("image/svg+xml;q=1;q=0", "json"),
        ('image/svg+xml;q="0"', "json"),
        ("image/svg+xml;q=2", "json"),
        ("image/svg+xml;q=-1", "json"),
        ("image/svg+xml;q=nan", "json"),
        ("image/svg+xml;q", "json"),
        ("image/svg+xml x", "json"),
        ("image/*", "json"),
        ("image", "json"),
        ("image/svg+xml/x", "json"),
        ("\u212amage/svg+xml", "json"),
    ],
)
def test_accept__chooses_only_if_it_is_one_of_our_types(accept: str | None, name: str) -> None:  # C56
    assert choose(None, accept) is FORMATS[name]


PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        (PROMETHEUS_2_42, "openmetrics"),
        ("text/plain;version=0.0.4", "prometheus"),
        ("*/*", "prometheus"),
        (None, "prometheus"),
        ("application/openmetrics-text;q=0,text/plain", "prometheus"),
        ("application/openmetrics-text; version=1.0.0; q=0.0", "prometheus"),
        (PROMETHEUS_3, "openmetrics"),
        ("", "prometheus"),
        ("text/html", "prometheus"),
        ("text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5", "prometheus"),
        ("text/plain,application/openmetrics-text", "openmetrics"),
        ("application/openmetrics-text,*/*", "openmetrics"),
        ("application/openmetrics-text;q=0,*/*", "prometheus"),
        ("application/openmetrics-text;q=0,*/*;q=0", "prometheus"),
        ("application/openmetrics-text;q=0.1,*/*", "prometheus"),
        ("application/*", "openmetrics"),
        ("application/*;q=0.1,text/*;q=0.2", "prometheus"),
        ("text/plain;q=0,*/*;q=0.1", "openmetrics"),
        ("application/openmetrics-text;q=0.0,application/openmetrics-text;version=1.0.0", "openmetrics"),
        ('text/html;x="application/openmetrics-text,application/openmetrics-text', "prometheus"),
        ('text/html;x="a,b",application/openmetrics-text', "openmetrics"),
        ("application/openmetrics-text;q=bogus,text/plain;q=0.1", "prometheus"),
    ],
)
def test_scraper__gets_openmetrics_if_it_asks_for_it(accept: str | None, name: str) -> None:
    assert choose_metrics(None, accept) is FORMATS[name]


WORDS = st.text("abcXYZ019!#$%&'*+.^_`|~-", min_size=1, max_size=8)
QUOTED = st.text(st.characters(max_codepoint=126, min_codepoint=32, exclude_characters='"\\\\'), max_size=8).map(
    '"{}"'.format
)
SPACES = st.sampled_from(["", " ", "\t", "  "])
PARAMETERS = st.lists(
    st.tuples(SPACES, SPACES, WORDS.filter(lambda word: word.lower() != "q"), WORDS | QUOTED).map(
        lambda parts: f"{parts[0]};{parts[1]}{parts[2]}={parts[3]}"
    ),
    max_size=3,
).map("".join)
TYPES = {"json", "health", "text", "openmetrics", "badge"}
"""Of the formats, those that a media type can choose."""


@given(name=st.sampled_from(sorted(TYPES)), upper=st.booleans(), parameters=PARAMETERS, weight=st.floats(0.001, 1))
def test_accept__that_is_one_range_of_ours_chooses_it(
    name: str, upper: bool, parameters: str, weight: float
) -> None:  # E05
    media_type = FORMATS[name].media_type.partition(";")[0]
    accept = (media_type.upper() if upper else media_type) + parameters
    assert choose(None, accept) is FORMATS[name]
    assert choose(None, f"{accept};q={weight:.3f}") is FORMATS[name]
    assert choose(None, f"{accept};q=0") is FORMATS["json"]


@given(
    name=st.sampled_from(sorted(TYPES)),
    parameters=PARAMETERS,
    others=st.lists(st.sampled_from(["*/*", "text/html", "application/json", "", "x", "*/*;q=0.1"]), min_size=1),
    place=st.integers(0, 3),
)
def test_accept__that_is_a_list_is_json(name: str, parameters: str, others: list[str], place: int) -> None:  # E05
    entries = [*others[:place], FORMATS[name].media_type + parameters, *others[place:]]
    assert choose(None, ",".join(entries)) is FORMATS["json"]


@given(accept=st.text(max_size=60) | st.text('/;,=q0.1"\\\\ \ttexplain*', max_size=60))
def test_accept__any_text__never_fails(accept: str) -> None:  # E05
    by_type = {form.media_type.partition(";")[0]: form for form in reversed(FORMATS.values())}
    plain = accept.partition(";")[0].strip(" \t").lower()
    assert choose(None, accept) in (FORMATS["json"], by_type.get(plain, FORMATS["json"]))
    assert choose_metrics(None, accept) in (FORMATS["prometheus"], FORMATS["openmetrics"])


@pytest.mark.parametrize("piece", [";", "; ", ';x="', ',"', '\\\\"', "a", ";q=0", " ", "\t;"])
def test_accept__is_read_in_linear_time(piece: str) -> None:  # E05
    began = time.thread_time()
    for accept in (f"text/plain{piece * 20_000}", f'text/plain;x="{piece * 20_000}', piece * 20_000):
        choose(None, accept)
        choose_metrics(None, accept)
    assert time.thread_time() - began < 2
