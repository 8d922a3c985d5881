"""Settings: what is accepted, and that every fault is named at once without its value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from schemas import instance_fields, settings, settings_fields
from schemas.service_links import is_service_link
from schemas.settings import Settings
from schemas.settings_fields import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from marshmallow import fields

BASE = {
    "FDI_ENDPOINT": "https://roma.example",
    "FDI_PROJECT_ID": "c53626012ba84727b938ca8bf03108ef",
    "FDI_INSTANCES": "payments=id-1,crm=id-2",
    "FDI_TOKEN": "env://ROMA_TOKEN",
}


def load(**changes: str) -> Settings:
    return settings.load({**BASE, **changes}, 0.0)


def faults(**changes: str) -> list[tuple[str, int | None]]:
    with pytest.raises(ValidationError) as caught:
        load(**changes)
    return [(variable, entry) for variable, entry, _ in settings.faults(caught.value)]


def test_settings__have_the_contracts_defaults() -> None:
    assert load() == Settings(
        region=None,
        endpoint="https://roma.example",
        config=None,
        project_id="c53626012ba84727b938ca8bf03108ef",
        instances=(("payments", "id-1"), ("crm", "id-2")),
        token="env://ROMA_TOKEN",
        iam_endpoint=None,
        token_warn_seconds=3600.0,
        callers=None,
        deadline_seconds=4.0,
        cache_seconds=5.0,
        max_parallel=64,
        anonymous="verdict",
        allow_empty=frozenset(),
        optional_task_groups=frozenset(),
        min_tasks={},
        min_running_tasks={},
        mute={},
        muted_tasks=[],
        flow_tasks="off",
        discovers=False,
        exclude=frozenset(),
        discovery_seconds=300.0,
        max_calls_per_second=None,
    )


def test_region__makes_the_endpoint() -> None:
    assert load(FDI_ENDPOINT="", FDI_REGION="cn-north-4").endpoint == "https://roma.cn-north-4.myhuaweicloud.com"
    assert load(FDI_REGION="cn-north-4").endpoint == "https://roma.example"


@pytest.mark.parametrize(
    "region", ["127.0.0.1:8443/x#", "a.evil.example/", "cn north", "CN-NORTH-4", "cn-north-4\n.evil", "-", "cn_north"]
)
def test_region__can_not_name_a_host(region: str) -> None:  # C41
    assert faults(FDI_ENDPOINT="", FDI_REGION=region) == [("FDI_REGION", None)]


def test_region_or_endpoint__one_is_needed() -> None:
    assert faults(FDI_ENDPOINT="") == [("FDI_REGION", None)]


@pytest.mark.parametrize(
    ("endpoint", "loaded"),
    [
        ("https://host/", "https://host"),  # C98
        ("https://host:8443/gateway/roma/", "https://host:8443/gateway/roma"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.8.8.8", "http://127.8.8.8"),
        ("http://localhost:1/", "http://localhost:1"),
        ("http://[::1]:1", "http://[::1]:1"),
        (" https://host ", "https://host"),
    ],
)
def test_endpoint__is_https_or_loopback(endpoint: str, loaded: str) -> None:
    assert load(FDI_ENDPOINT=endpoint).endpoint == loaded


@pytest.mark.parametrize(
    "endpoint",
    [
        "host",
        "ftp://host",
        "http://host",
        "http://10.0.0.1",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://[::2]",
        "https://user:secret@host",
        "https://host?x=1",
        "https://host#x",
        "https://host/../x",
        "https://host/./x",
        "https://host:0",
        "https://host:65536",
        "https://ho st",
        "https://host\\x",
        "https://",
        "https://host//x",
        "https://[1]",
        "https://[:::]",
        "https://[1.2.3.4]",
        "https://[::1]x",
        "https://a..b",
        f"https://{'a' * 64}.example",
        "https://" + ".".join(["a" * 60] * 5),
    ],
)
def test_endpoint__refuses_anything_else(endpoint: str) -> None:
    assert faults(FDI_ENDPOINT=endpoint) == [("FDI_ENDPOINT", None)]


@pytest.mark.parametrize(
    ("instances", "pairs"),
    [
        ("a=1,", [("a", "1")]),  # C95
        ("fae7ff6c-8e07", [("fae7ff6c-8e07", "fae7ff6c-8e07")]),
        (" a = 1 ,\n b=2", None),
        ("a=1,\n b=2", [("a", "1"), ("b", "2")]),
        ("A.b_c-d=1", [("A.b_c-d", "1")]),
    ],
)
def test_instances__are_aliases_and_ids(instances: str, pairs: list[tuple[str, str]] | None) -> None:
    if pairs is None:
        assert faults(FDI_INSTANCES=instances) == [("FDI_INSTANCES", 1)]
    else:
        assert load(FDI_INSTANCES=instances).instances == tuple(pairs)


@pytest.mark.parametrize(
    ("instances", "entries"),
    [
        ("", [None]),  # C13
        (",", [1]),
        ("a=1,,b=2", [2]),
        ("{'payments':'id'}", [1]),  # C95
        ("a=1,a=2", [2]),
        ("a=1,b=1", [2]),
        ("a=1,b=a", [2]),
        ("a=1,1", [2]),
        ("..=1,.=2", [1, 2]),
        ("a/b=1", [1]),
        ("a=b/c", [1]),
        ("a==1", [1]),
        ("=1", [1]),
        ("a=", [1]),
        ('pay"m\\=1', [1]),  # C81
        ("x-FDI-OK-x=1", [1]),  # C26
        ("fdi-ok=1", [1]),
        ("a=FDI-OK", [1]),
        (f"{'a' * 65}=1", [1]),
        ("a=1,{,b=1", [2, 3]),
    ],
)
def test_instances__faults_name_their_entry(instances: str, entries: list[int | None]) -> None:
    assert faults(FDI_INSTANCES=instances) == [("FDI_INSTANCES", entry) for entry in entries]


@pytest.mark.parametrize(("text", "seconds"), [("", 4.0), (" 8 ", 8.0), ("0.1", 0.1), ("60", 60.0), ("007", 7.0)])
def test_number__accepts_plain_decimals(text: str, seconds: float) -> None:  # C94
    assert load(FDI_DEADLINE_SECONDS=text).deadline_seconds == seconds


@pytest.mark.parametrize(
    "text", ["8s", "nan", "inf", "0", "-1", "1_0", "1e1", "+4", "٣", "60.1", "9" * 5000, "4.", ".4"]
)
def test_number__refuses_what_python_would_take(text: str) -> None:  # C94
    assert faults(FDI_DEADLINE_SECONDS=text, FDI_CACHE_SECONDS="x") == [
        ("FDI_DEADLINE_SECONDS", None),
        ("FDI_CACHE_SECONDS", None),
    ]


@pytest.mark.parametrize("text", ["0", "257", "8.5", "8.0"])
def test_max_parallel__is_a_whole_number_to_256(text: str) -> None:
    assert faults(FDI_MAX_PARALLEL=text) == [("FDI_MAX_PARALLEL", None)]


@pytest.mark.parametrize("text", ["0.1", "12", "1000"])
def test_max_calls_per_second__is_a_number(text: str) -> None:
    assert load(FDI_MAX_CALLS_PER_SECOND=text).max_calls_per_second == float(text)


def test_cache_seconds__may_be_zero() -> None:
    assert load(FDI_CACHE_SECONDS="0").cache_seconds == 0.0


@pytest.mark.parametrize("text", ["no", "VERDICT", "all"])
def test_anonymous__is_verdict_details_or_refuse(text: str) -> None:
    assert faults(FDI_ANONYMOUS=text) == [("FDI_ANONYMOUS", None)]


def test_anonymous_refuse__without_callers__is_a_fault() -> None:
    assert faults(FDI_ANONYMOUS="refuse") == [("FDI_CALLERS", None)]
    assert load(FDI_ANONYMOUS="refuse", FDI_CALLERS="env://KEYS").callers == "env://KEYS"


def test_iam_endpoint__comes_from_the_region_unless_it_is_set() -> None:
    assert load(FDI_REGION="cn-north-4").iam_endpoint == "https://iam.cn-north-4.myhuaweicloud.com"
    assert load(FDI_REGION="cn-north-4", FDI_IAM_ENDPOINT="https://iam.example/").iam_endpoint == "https://iam.example"
    assert load(FDI_IAM_ENDPOINT="https://iam.example/v3/").iam_endpoint == "https://iam.example"
    assert load(FDI_IAM_ENDPOINT="http://127.0.0.1:9").iam_endpoint == "http://127.0.0.1:9"
    assert faults(FDI_IAM_ENDPOINT="http://iam.example") == [("FDI_IAM_ENDPOINT", None)]


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("86400", 86400.0)])
def test_token_warn_seconds__are_within_a_tokens_life(text: str, seconds: float) -> None:
    assert load(FDI_TOKEN_WARN_SECONDS=text).token_warn_seconds == seconds
    assert faults(FDI_TOKEN_WARN_SECONDS="86401") == [("FDI_TOKEN_WARN_SECONDS", None)]


@pytest.mark.parametrize(("text", "entries"), [("crm,nope", [2]), ("id-1", [1]), ("a b", [1])])
def test_allow_empty__names_configured_instances(text: str, entries: list[int]) -> None:
    assert faults(FDI_ALLOW_EMPTY=text) == [("FDI_ALLOW_EMPTY", entry) for entry in entries]
    assert load(FDI_ALLOW_EMPTY="crm,").allow_empty == {"crm"}
    assert load(FDI_ALLOW_EMPTY="*").allow_empty == {"*"}


def test_allow_empty__is_not_blamed_for_broken_instances() -> None:
    assert faults(FDI_ALLOW_EMPTY="crm", FDI_INSTANCES="{") == [("FDI_INSTANCES", 1)]


def test_optional_task_groups__are_cdc_and_common() -> None:
    assert load(FDI_OPTIONAL_TASK_GROUPS="cdc,common").optional_task_groups == {"cdc", "common"}
    assert faults(FDI_OPTIONAL_TASK_GROUPS="cdc,CDC") == [("FDI_OPTIONAL_TASK_GROUPS", 2)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"FDI_ENDPOINT": "x"},
            "must be https://HOST[:PORT][/PATH] with no user, query or fragment, e.g. https://roma.",
        ),
        (
            {"FDI_IAM_ENDPOINT": "http://x"},
            "must begin with https:// (http:// is for loopback addresses only), e.g. https://iam.",
        ),
        ({"FDI_CACHE_SECONDS": "x"}, "must be a number from 0 to 60, e.g. 5"),
        ({"FDI_DEADLINE_SECONDS": "0"}, "must be a number from 0.1 to 60, e.g. 4"),
        ({"FDI_MAX_PARALLEL": "1.5"}, "must be a whole number from 1 to 256, e.g. 64"),
        ({"FDI_OPTIONAL_TASK_GROUPS": "x"}, "must be cdc or common, e.g. cdc"),
        ({"FDI_MAX_CALLS_PER_SECOND": "0"}, "must be a number from 0.1 to 1000, e.g. 12"),
        ({"FDI_MAX_CALLS_PER_SECOND": "1001"}, "must be a number from 0.1 to 1000, e.g. 12"),
    ],
)
def test_fault__says_what_is_expected(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        load(**changes)
    ((_, _, said),) = settings.faults(caught.value)
    assert said.startswith(message)


@pytest.mark.parametrize(
    ("made", "value", "said"),
    [
        (lambda: settings_fields.Endpoint("https://a.example"), "x", "e.g. https://a.example"),
        (lambda: settings_fields.Endpoint("https://a.example"), "http://x", "e.g. https://a.example"),
        (lambda: settings_fields.Number(1, 5, "2", whole=True), "x", "must be a whole number from 1 to 5, e.g. 2"),
        (lambda: settings_fields.Number(1, 5, "2", whole=False), "x", "must be a number from 1 to 5, e.g. 2"),
        (lambda: settings_fields.Matching(settings_fields.NAME, "must be a name"), "a b", "must be a name"),
        (lambda: settings_fields.Entries(settings_fields.NAME, "must be a name"), "a b", "must be a name"),
    ],
)
def test_field__fault__has_the_message_it_was_given(
    made: Callable[[], fields.Field[Any]], value: str, said: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        made().deserialize(value)
    assert said in str(caught.value)


def test_whole_number__loaded__is_an_int() -> None:
    assert type(load(FDI_MAX_PARALLEL="7").max_parallel) is int


@pytest.mark.parametrize(
    ("text", "pairs"),
    [("a,b,", [("a", "a"), ("b", "b")]), ("a,", [("a", "a")]), ("x=a, y=b,", [("x", "a"), ("y", "b")])],
)
def test_list__may_end_with_a_comma(text: str, pairs: list[tuple[str, str]]) -> None:
    assert load(FDI_INSTANCES=text).instances == tuple(pairs)


@pytest.mark.parametrize("text", [",", "a,,", ",a"])
def test_list__has_no_empty_entry(text: str) -> None:
    assert faults(FDI_INSTANCES=text)


@pytest.mark.parametrize(
    "field", [instance_fields.Instances(), settings_fields.Entries(settings_fields.NAME, "a name")]
)
def test_list__of_nothing_is_a_fault(field: fields.Field[Any]) -> None:
    with pytest.raises(ValidationError):
        field.deserialize("")


@pytest.mark.parametrize("host", ["X127.0.0.1", "127.0.0.1X", "10.0.0.1", "localhost.example", "[::2]"])
def test_loopback__is_this_machine_alone(host: str) -> None:
    assert not is_loopback(host)


def test_unknown_variable__is_no_guess_if_it_is_like_nothing() -> None:
    with pytest.raises(ValidationError) as caught:
        load(FDI_TIMEOUT_SECONDS="x", FDI_CACHE_SECONDS="x")
    messages = {variable: message for variable, _, message in settings.faults(caught.value)}
    assert messages.keys() == {"FDI_TIMEOUT_SECONDS", "FDI_CACHE_SECONDS"}
    assert "reserved" in messages["FDI_TIMEOUT_SECONDS"]


def test_unknown_variable__is_a_fault_with_a_guess() -> None:
    with pytest.raises(ValidationError) as caught:
        load(FDI_ANONYMOS="details", FDI_XYZ="", FDI_CALLER="env://KEYS")
    messages = {variable: message for variable, _, message in settings.faults(caught.value)}
    assert messages.keys() == {"FDI_ANONYMOS", "FDI_XYZ", "FDI_CALLER"}
    assert "did you mean FDI_ANONYMOUS?" in messages["FDI_ANONYMOS"]
    assert "reserved" in messages["FDI_XYZ"]


def _links(service: str, address: str, host: str) -> dict[str, str]:
    """Return what Kubernetes sets in every pod for a Service with two ports."""
    return {
        f"{service}_SERVICE_HOST": address,
        f"{service}_SERVICE_PORT": "80",
        f"{service}_SERVICE_PORT_HTTP": "80",
        f"{service}_SERVICE_PORT_DNS_UDP": "53",
        f"{service}_PORT": f"tcp://{host}:80",
        f"{service}_PORT_80_TCP": f"tcp://{host}:80",
        f"{service}_PORT_80_TCP_PROTO": "tcp",
        f"{service}_PORT_80_TCP_PORT": "80",
        f"{service}_PORT_80_TCP_ADDR": address,
        f"{service}_PORT_53_UDP": f"udp://{host}:53",
        f"{service}_PORT_53_UDP_PROTO": "udp",
        f"{service}_PORT_53_UDP_PORT": "53",
        f"{service}_PORT_53_UDP_ADDR": address,
    }


@pytest.mark.parametrize("service", ["FDI_HEALTH", "FDI_GATEWAY", "FDI", "FDI_2", "FDI_TOKEN", "FDI_SERVICE_PORT"])
@pytest.mark.parametrize(("address", "host"), [("10.0.0.1", "10.0.0.1"), ("fd00::1", "[fd00::1]")])
def test_service_link_of_kubernetes__is_not_a_fault(service: str, address: str, host: str) -> None:  # E27
    for name, value in _links(service, address, host).items():
        assert load(**{name: value})
    assert load(**_links(service, address, host), fdi_x="1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FDI_DEADLINE_PORT", "4"),
        ("FDI_GATEWAY_PORT", "8080"),
        ("FDI_GATEWAY_PORT", ""),
        ("FDI_GATEWAY_PORT", "tcp://roma.example:80"),
        ("FDI_GATEWAY_PORT", "tcp://999.0.0.1:80"),
        ("FDI_GATEWAY_PORT", "http://10.0.0.1:80"),
        ("FDI_GATEWAY_SERVICE_HOST", "roma.example"),
        ("FDI_GATEWAY_SERVICE_HOSTS", "10.0.0.1"),
        ("FDI_GATEWAY_SERVICE_PORT", "x"),
        ("FDI_GATEWAY_PORT_80_TCP_PROTO", "http"),
        ("FDI_GATEWAY_PORT_80_TCP_ADR", "10.0.0.1"),
        ("FDI_HEALTH_DEADLINE_SECONDS", "4"),
        ("FDIX_SERVICE_HOST", "10.0.0.1"),
    ],
)
def test_variable_that_only_looks_like_a_service_link__is_a_fault(name: str, value: str) -> None:  # E27
    if name.startswith("FDI_"):
        assert faults(**{name: value}) == [(name, None)]
    else:
        assert load(**{name: value})


@given(value=st.text(max_size=20), name=st.from_regex(r"FDI(_[A-Z]{1,4}){1,3}(_PORT|_SERVICE_HOST|_SERVICE_PORT)?"))
def test_service_link__is_never_one_of_our_settings(name: str, value: str) -> None:  # E27
    ours = {str(field.data_key) for field in settings.SettingsSchema().fields.values()}
    assert not (is_service_link(name, value) and name in ours)
    assert not any(is_service_link(setting, value) for setting in ours)


def test_faults__are_reported_all_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        settings.load({}, 0.0)
    assert [variable for variable, _, _ in settings.faults(caught.value)] == [
        "FDI_PROJECT_ID",
        "FDI_INSTANCES",
        "FDI_TOKEN",
        "FDI_REGION",
    ]


@given(
    variable=st.sampled_from(sorted(str(field.data_key) for field in settings.SettingsSchema().fields.values())),
    value=st.text(st.characters(exclude_categories=["Cs"]), min_size=6),
)
def test_fault__never_shows_the_value(variable: str, value: str) -> None:
    secret = f"s3cr3t{value}"
    try:
        load(**{variable: secret})
    except ValidationError as error:
        for _, _, message in settings.faults(error):
            assert "s3cr3t" not in message
            assert "e.g." in message


@given(
    st.lists(
        st.tuples(st.text("AZaz_.", min_size=1, max_size=20).map(lambda name: f"n{name}"), st.uuids()),
        min_size=1,
        max_size=8,
        unique_by=(lambda pair: pair[0], lambda pair: pair[1]),
    )
)
def test_instances__round_trip(pairs: list[tuple[str, object]]) -> None:
    text = ",".join(f"{name}={uuid}" for name, uuid in pairs)
    assert load(FDI_INSTANCES=text).instances == tuple((name, str(uuid)) for name, uuid in pairs)


@pytest.mark.parametrize(
    ("text", "named", "exclude"),
    [
        ("*", (), set()),
        ("*,", (), set()),
        ("*,!sandbox", (), {"sandbox"}),
        ("!sandbox, *", (), {"sandbox"}),
        ("*,payments=ID,!old", (("payments", "ID"),), {"old"}),
        ("crm,*,payments=ID", (("crm", "crm"), ("payments", "ID")), set()),
    ],
)
def test_instances__star__discovers(text: str, named: tuple[tuple[str, str], ...], exclude: set[str]) -> None:
    loaded = load(FDI_INSTANCES=text)
    assert (loaded.discovers, loaded.instances, loaded.exclude) == (True, named, frozenset(exclude))


@pytest.mark.parametrize(
    ("text", "entry", "message"),
    [
        ("*,*", 2, "repeats *, which may stand once, e.g. *,!sandbox"),
        ("*,!", 2, "must be ! and an instance's name or ID, e.g. *,!sandbox"),
        ("*,!a b", 2, "must be ! and an instance's name or ID, e.g. *,!sandbox"),
        ("*,!*", 2, "must be ! and an instance's name or ID, e.g. *,!sandbox"),
        (
            "*,!FDI-OK",
            2,
            "must not contain the word that keyword checkers search for; use the ID, e.g. *,!ID",
        ),
        ("payments=ID,!sandbox", 2, "excludes an instance from *, and there is no entry *, e.g. *,!sandbox"),
        ("!a,*,a=ID", 1, "excludes an instance that another entry names, e.g. *,payments=ID,!sandbox"),
        ("*,a=ID,!ID", 3, "excludes an instance that another entry names, e.g. *,payments=ID,!sandbox"),
        ("*,!a,!b,!a", 4, "repeats an earlier exclusion, e.g. *,!sandbox,!test"),
        (
            "*,*=ID",
            2,
            "must be alias=ID, a bare ID, or * for every instance, e.g. payments=fae7ff6c-8e07-4cf8-9e67-589cab2f017c",
        ),
    ],
)
def test_instances__star_or_exclusion_malformed__is_a_fault(text: str, entry: int, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        load(FDI_INSTANCES=text)
    assert list(settings.faults(caught.value)) == [("FDI_INSTANCES", entry, message)]


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("FDI_ALLOW_EMPTY", "found"),
        ("FDI_MIN_TASKS", "found=1"),
        ("FDI_MIN_RUNNING_TASKS", "found=1"),
        ("FDI_MUTE", "found=2000-01-01T00:00Z/2000-01-02T00:00Z"),
        ("FDI_MUTED_TASKS", "found/task=2000-01-01T00:00Z"),
    ],
)
def test_policy__for_a_discovered_instance__is_accepted_with_star_only(variable: str, text: str) -> None:
    settings.load({**BASE, "FDI_INSTANCES": "*", variable: text}, 946_684_800.0)
    with pytest.raises(ValidationError):
        settings.load({**BASE, variable: text}, 946_684_800.0)


@pytest.mark.parametrize(("variable", "text"), [("FDI_ALLOW_EMPTY", "a b"), ("FDI_MIN_TASKS", "a b=1")])
def test_policy__malformed_with_star__is_a_fault(variable: str, text: str) -> None:
    assert faults(FDI_INSTANCES="*", **{variable: text}) == [(variable, 1)]


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10.0), ("3600", 3600.0), ("0.5", None), ("9", None), ("3601", None)]
)
def test_discovery_seconds__are_from_10_to_3600(text: str, seconds: float | None) -> None:
    if seconds is None:
        assert faults(FDI_DISCOVERY_SECONDS=text) == [("FDI_DISCOVERY_SECONDS", None)]
    else:
        assert load(FDI_DISCOVERY_SECONDS=text).discovery_seconds == seconds
