"""A document of several targets: what is accepted, and that every fault has its line and path, and no value."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import pairwise
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from schemas import settings
from schemas.config_document import MAX_DOCUMENT_BYTES, ConfigFault, ConfigFaults, load
from schemas.policy_fields import TaskMute
from schemas.targets import TargetSettings, from_settings
from tests.machine import assert_within
from tests.servers import ROOT

PRESENT = 1_796_083_200.0
"""2026-12-01."""

VALUE = "v4lue"
"""Stands in each fault below; no message may repeat it."""


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def yaml_loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with both parsers: packages without compiled code do not have libyaml."""
    if request.param == "python":
        monkeypatch.delattr(yaml, "CSafeLoader")


def document(*changes: str, instances: str = "{a: id-1, b: id-2}", **fields: str) -> str:
    """Return a document of one target: each of its fields stands on a line, the first on line 2."""
    target = {"name": "emea", "region": "cn-north-4", "project_id": "p", "token": "env://T", "instances": instances}
    lines = [f"{field}: {value}" for field, value in {**target, **fields}.items() if value != "absent"]
    return "\n".join([f"targets:\n  - {lines[0]}", *(f"    {line}" for line in (*lines[1:], *changes))]) + "\n"


def loaded(*changes: str, **fields: str) -> TargetSettings:
    (target,) = load(document(*changes, **fields).encode(), PRESENT)
    return target


def faults(text: str | bytes) -> list[ConfigFault]:
    with pytest.raises(ConfigFaults) as caught:
        load(text.encode() if isinstance(text, str) else text, PRESENT)
    return list(caught.value.faults)


def places(text: str | bytes) -> list[tuple[int | None, str]]:
    return [(fault.line, fault.path) for fault in faults(text)]


def test_target__with_the_required_fields__has_the_defaults() -> None:
    assert loaded() == TargetSettings(
        name="emea",
        endpoint="https://roma.cn-north-4.myhuaweicloud.com",
        project_id="p",
        token="env://T",
        instances=(("a", "id-1"), ("b", "id-2")),
        region="cn-north-4",
        iam_endpoint="https://iam.cn-north-4.myhuaweicloud.com",
    )


def test_target__with_every_field__is_loaded() -> None:
    text = """\
targets:
  - name: emea
    region: cn-north-4
    endpoint: https://roma.example/
    project_id: p
    token: env://T
    iam_endpoint: https://iam.example/v3
    instances: "*"
    exclude: [sandbox, id-9]
    min_instances: 3
    optional_task_groups: [cdc]
    flow_tasks: check
    allow_empty: ["*", lab]
    max_calls_per_second: 2.5
    policy:
      "*": {min_tasks: 1, mute: 2026-12-02T00:00Z}
      pay: {min_running_tasks: 2, muted_tasks: {nightly export: 2026-12-03T00:00Z/2026-12-04T00:00Z}, note: why}
"""
    assert load(text.encode(), PRESENT) == (
        TargetSettings(
            name="emea",
            region="cn-north-4",
            endpoint="https://roma.example",
            project_id="p",
            token="env://T",
            iam_endpoint="https://iam.example",
            discovers=True,
            exclude=frozenset({"sandbox", "id-9"}),
            min_instances=3,
            optional_task_groups=frozenset({"cdc"}),
            flow_tasks="check",
            allow_empty=frozenset({"*", "lab"}),
            max_calls_per_second=2.5,
            min_tasks={"*": 1},
            min_running_tasks={"pay": 2},
            mute={"*": (None, PRESENT + 86400)},
            muted_tasks=(TaskMute("pay", "nightly export", PRESENT + 2 * 86400, PRESENT + 3 * 86400),),
        ),
    )


def test_instances__as_a_list__have_their_ids_as_aliases() -> None:
    assert loaded(instances="[id-1, id-2]").instances == (("id-1", "id-1"), ("id-2", "id-2"))


def test_alias__of_two_targets__is_accepted() -> None:
    two = document() + document(name="apac").removeprefix("targets:\n")
    assert [target.name for target in load(two.encode(), PRESENT)] == ["emea", "apac"]


@pytest.mark.parametrize(
    "text", ["0012", "1e5", "on", "off", "yes", "2026-01-01", "1_000", "0x1F", "true", "0o17", "nan", "123456789"]
)
def test_scalar__that_yaml_would_retype__stays_the_text(text: str) -> None:
    for written in (text, f'"{text}"', f"'{text}'"):
        assert loaded(instances=f"{{{written}: {written}}}").instances == ((text, text),)


def test_flow_tasks__off__is_the_text() -> None:
    assert loaded(flow_tasks="off").flow_tasks == "off"


def test_byte_order_mark_and_comments__are_accepted() -> None:
    text = "\ufeff# ours\n---\n" + document("# nothing else") + "...\n"
    assert load(text.encode(), PRESENT) == (loaded(),)


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json__is_accepted(indent: Any) -> None:
    policy = {"a": {"min_tasks": 3, "muted_tasks": {"t": "2026-12-02T00:00Z"}}}
    target: dict[str, Any] = {"name": "emea", "region": "cn-north-4", "project_id": "p", "token": "env://T"}
    target |= {"policy": policy, "instances": {"a": "id-1", "b": "id-2"}}
    text = "\ufeff\n" + json.dumps({"targets": [target]}, indent=indent)
    yaml_text = document("policy: {a: {min_tasks: 3, muted_tasks: {t: 2026-12-02T00:00Z}}}")
    assert load(text.encode(), PRESENT) == load(yaml_text.encode(), PRESENT)


def test_json__faults__have_paths_without_lines() -> None:
    text = (
        '{"targets": [{"name": null, "region": true, "project_id": 1e5, "instances": {"a": 1, "b": [1]}, "tokn": "x"}]}'
    )
    assert sorted(places(text), key=str) == [
        (None, "targets[0].instances.b"),
        (None, "targets[0].name"),
        (None, "targets[0].project_id"),
        (None, "targets[0].region"),
        (None, "targets[0].token"),
        (None, "targets[0].tokn"),
    ]
    assert "did you mean token?" in {fault.path: fault.message for fault in faults(text)}["targets[0].tokn"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'{{"targets": [], "a": "{VALUE}", "a": 1}}', "a key stands twice"),
        (f'{{"targets": {VALUE}}}', "a syntax error"),
        ('{"targets": NaN}', "NaN or Infinity"),
        ('{"a": ' * 9 + "[[]]" + "}" * 9, "more than 10 deep"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("{targets: []}", "a syntax error"),
    ],
)
def test_json__that_is_malformed__is_refused(text: str, message: str) -> None:
    (fault,) = faults(text)
    assert (fault.line, fault.path, message in fault.message) == (None, "", True)


LAUGHS = "\n".join(
    ["targets: *i", "a: &a [lol, lol]", *(f"{n}: &{n} [*{m}, *{m}, *{m}]" for m, n in pairwise("abcdefghi"))]
)
DEEP = "\n".join(f"{'  ' * depth}a:" for depth in range(12))

TRAPS: dict[str, tuple[str | bytes, list[tuple[int | None, str]]]] = {
    "anchor": (document(token=f"&{VALUE} env://T"), [(5, "targets[0].token")]),
    "alias": (document(token=f"*{VALUE}"), [(5, "targets[0].token")]),
    "anchor of a key": (document("&x exclude: [x]"), [(7, "targets[0].exclude")]),
    "alias as key": (document(f"*{VALUE} : 1"), [(7, "targets[0].(entry 6)")]),
    "tag": (document(project_id=f"!!str {VALUE}"), [(4, "targets[0].project_id")]),
    "python tag": (document(project_id=f"!!python/name:{VALUE} x"), [(4, "targets[0].project_id")]),
    "local tag": (document(instances=f"!{VALUE} {{a: id-1}}"), [(6, "targets[0].instances")]),
    "merge key": (document("<<: {flow_tasks: check}"), [(7, "targets[0].(entry 6)")]),
    "duplicate key": (document(f"name: {VALUE}"), [(7, "targets[0].name")]),
    "duplicate key in quotes": (document(f'"name": {VALUE}'), [(7, "targets[0].name")]),
    "duplicate alias": (document(instances=f"{{a: id-1, a: {VALUE}}}"), [(6, "targets[0].instances.a")]),
    "list as key": (document(f"? [{VALUE}]\n    : 1"), [(7, "targets[0].(entry 6)")]),
    "mapping as key": (document(f"{{{VALUE}: 1}}: 1"), [(7, "targets[0].(entry 6)")]),
    "empty key": (document(f'"": {VALUE}'), [(7, "targets[0].(entry 6)")]),
    "two documents": (document() + f"---\n{VALUE}: 1\n", [(7, "")]),
    "tab": (document(f"\tflow_tasks: {VALUE}") + "\t\n", [(7, ""), (8, "")]),
    "latin-1": (document(project_id=f"{VALUE}é").encode("latin-1"), [(4, "")]),
    "utf-16": (document().encode("utf-16"), [(1, "")]),
    "control character": (document(project_id=f"{VALUE}\x01"), [(4, "")]),
    "line end that editors do not count": (document(project_id=f"{VALUE}\u2028"), [(4, "")]),
    "byte order mark inside": (document(project_id=f"\ufeff{VALUE}"), [(4, "")]),
    "half a surrogate pair": (document(project_id=rf'"{VALUE}\ud800"'), [(4, "targets[0].project_id")]),
    "numeric escape out of range": (document(project_id=rf'"{VALUE}\UFFFFFFFF"'), [(4, "")]),
    "10 MB": (document() + "#" * 10_000_000, [(None, "")]),
    "one byte too many": (document().ljust(MAX_DOCUMENT_BYTES + 1, "#"), [(None, "")]),
    "nested too deeply": (DEEP, [(11, "a.a.a.a.a.a.a.a.a.a")]),
    "nested far too deeply": ("a: " + "[" * 100_000, [(1, "a" + "[0]" * 9)]),
    "empty": ("", [(None, "")]),
    "only comments": ("# nothing\n", [(None, "")]),
    "only a head": ("# nothing\n---\n", [(3, "")]),
    "null": ("~", [(1, "")]),
    "text": (VALUE, [(1, "")]),
    "list": (f"- {VALUE}", [(1, "")]),
    "no targets": ("targetz: [1]", [(1, "targets"), (1, "targetz")]),
    "targets are null": ("targets:\n", [(1, "targets")]),
    "targets are empty": ("# ours\ntargets: []\n", [(2, "targets")]),
    "targets are a mapping": (f"targets: {{a: {VALUE}}}", [(1, "targets")]),
    "target is a text": (f"targets:\n  - {VALUE}", [(2, "targets[0]")]),
    "101 targets": ("targets:\n" + "  - {}\n" * 101, [(1, "targets")]),
    "unclosed quotes": (document(project_id=f'"{VALUE}'), [(4, "")]),
    "reserved character": (document(project_id=f"@{VALUE}"), [(4, "")]),
    "colon in a text": (document(project_id=f"{VALUE}: x"), [(4, "")]),
    "no colon": (document(VALUE), [(7, "")]),
    "wrong indentation": (document(f" region: {VALUE}"), [(7, "")]),
}


SYNTAX = {
    "unclosed quotes": (4, 5, 7),
    "no colon": (7, 8),
    "colon in a text": (4,),
    "half a surrogate pair": (4,),
    "nested far too deeply": (1,),
}
"""Syntax errors that the two parsers find at different places, which is why only their lines are compared."""


@pytest.mark.parametrize("trap", TRAPS)
def test_trap__is_refused_with_line_and_path(trap: str) -> None:
    text, expected = TRAPS[trap]
    found = faults(text)
    if trap in SYNTAX:
        assert found[0].line in SYNTAX[trap]
        expected = [(found[0].line, found[0].path)]
    assert [(fault.line, fault.path) for fault in found] == expected
    assert VALUE not in " ".join(fault.message for fault in found)
    assert all(fault.message for fault in found)


def test_billion_laughs__is_refused_at_once() -> None:
    began = time.monotonic()
    found = faults(LAUGHS)
    assert_within(began, 5)
    assert (1, "targets") in {(fault.line, fault.path) for fault in found}


REFUSED = {
    "name": ["absent", "", "[a]", '""', "a b", "..", "FDI-OK", "a" * 65],
    "region": ["absent", "", "CN", "{a: b}", "a.evil.example/"],
    "endpoint": ["http://roma.example", "roma.example", "", "[a]", "https://u:v4lue@h"],
    "iam_endpoint": ["ftp://x", ""],
    "project_id": ["absent", "", "a b", "[p]", '""'],
    "token": ["absent", "", '""', "{v4lue: 1}", r'"v4lue\n"'],
    "instances": ["absent", "", "{}", "[]", "all", '""'],
    "exclude": ["[sandbox]", "sandbox", ""],
    "min_instances": ["3"],
    "optional_task_groups": ["cdc", "{cdc: 1}", ""],
    "flow_tasks": ["true", "on", "Off", ""],
    "allow_empty": ["a", ""],
    "max_calls_per_second": ["0", "1_0", "-1", "1e1", "fast", "1001", ""],
    "policy": ["", "[a]", "none"],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in REFUSED.items() for value in values])
def test_field__with_a_wrong_value__is_refused_with_its_line(field: str, value: str) -> None:
    text = document(**{field: value})
    ((line, path, message),) = faults(text)
    lines = [number for number, at in enumerate(text.splitlines(), 1) if f" {field}:" in at]
    assert (line, path) == ((lines or [2])[0], f"targets[0].{field}")
    assert VALUE not in message


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("instances", "{c d: id-3}", "instances.(entry 1)"),
        ("instances", "{a: id-1, crm: id 2}", "instances.crm"),
        ("instances", "{a: id-1, crm: }", "instances.crm"),
        ("instances", "{a: id-1, crm: [x]}", "instances.crm"),
        ("instances", "{a: id-1, b: id-1}", "instances.b"),
        ("instances", "{a: id-1, id-1: id-2}", "instances.id-1"),
        ("instances", "{fdi-ok: id-1}", "instances.FDI_OK"),
        ("instances", "[id-1, id-1]", "instances[1]"),
        ("instances", '["*"]', "instances[0]"),
        ("instances", "[a, {b: c}]", "instances[1]"),
        ("optional_task_groups", "[cdc, flow]", "optional_task_groups[1]"),
        ("allow_empty", "[a, id-1, '*', zz]", "allow_empty[3]"),
        ("allow_empty", "[[a]]", "allow_empty[0]"),
        ("policy", "{zz: {min_tasks: 1}}", "policy.zz"),
        ("policy", "{a: 3}", "policy.a"),
        ("policy", "{a: }", "policy.a"),
        ("policy", "{a: {min_tasks: 0}}", "policy.a.min_tasks"),
        ("policy", "{id-1: {min_tasks: [1]}}", "policy.id-1.min_tasks"),
        ("policy", "{a: {min_running_tasks: 1.5}}", "policy.a.min_running_tasks"),
        ("policy", "{a: {mute: 2027-02-01T00:00Z}}", "policy.a.mute"),
        ("policy", "{a: {mute: 2026-12-05}}", "policy.a.mute"),
        ("policy", "{a: {mute: [x]}}", "policy.a.mute"),
        ("policy", "{a: {mute: 2026-12-02T00:00Z/2027-02-01T00:00Z}}", "policy.a.mute"),
        ("policy", "{a: {muted_tasks: {t: 2028-01-01T00:00Z}}}", "policy.a.muted_tasks.t"),
        ("policy", "{a: {muted_tasks: {t: soon}}}", "policy.a.muted_tasks.t"),
        ("policy", "{a: {muted_tasks: {t: [x]}}}", "policy.a.muted_tasks.t"),
        ("policy", "{a: {muted_tasks: {nightly FDI-OK: 2026-12-02T00:00Z}}}", "policy.a.muted_tasks.(entry 1)"),
        ("policy", "{a: {muted_tasks: [t]}}", "policy.a.muted_tasks"),
        ("policy", "{a: {muted_tasks: {}}}", "policy.a.muted_tasks"),
        ("policy", "{a: {note: [x]}}", "policy.a.note"),
        ("policy", f"{{a: {{note: {'x' * 201}}}}}", "policy.a.note"),
        ("policy", "{a: {mutex: x}}", "policy.a.mutex"),
        ("policy", "{a: {c d: x}}", "policy.a.(entry 1)"),
    ],
)
def test_member_of_a_field__with_a_wrong_value__is_refused(field: str, value: str, path: str) -> None:
    ((line, found, message),) = faults(document(**{field: value}))
    assert (line, found) == (6 if field == "instances" else 7, f"targets[0].{path}")
    assert "FDI-OK" not in message.upper()


@pytest.mark.parametrize(
    ("value", "path"),
    [("[a b]", "exclude[0]"), ("[fdi-ok]", "exclude[0]"), ("[[a]]", "exclude[0]"), ("sandbox", "exclude")],
)
def test_exclude__with_a_wrong_value__is_refused(value: str, path: str) -> None:
    assert places(document(instances="'*'", exclude=value)) == [(7, f"targets[0].{path}")]


@pytest.mark.parametrize("key", ["a b", "FDI-OK", "'*b'"])
def test_policy__of_a_name_that_no_instance_can_have__is_refused(key: str) -> None:
    assert len(faults(document(instances='"*"', policy=f"{{{key}: {{}}, any.name: {{}}, '*': {{}}}}"))) == 1


def test_faults__of_several_targets__are_all_named_in_the_order_of_lines() -> None:
    text = document(name="emea", token="") + document(name="emea", regin="x").removeprefix("targets:\n") + "other: 1\n"
    assert places(text) == [
        (5, "targets[0].token"),
        (7, "targets[1].name"),
        (12, "targets[1].regin"),
        (13, "other"),
    ]


def test_faults_of_yaml_and_of_fields__are_named_together() -> None:
    assert places(document("name: other", token="&x env://T", project_id="a b")) == [
        (4, "targets[0].project_id"),
        (5, "targets[0].token"),
        (7, "targets[0].name"),
    ]


def test_syntax_error__does_not_hide_the_faults_before_it() -> None:
    assert places(document(token="&x env://T") + "}") == [(5, "targets[0].token"), (7, "")]


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("regin", "did you mean region?"),
        ("project-id", "did you mean project_id?"),
        ("instance", "did you mean instances?"),
        ("colour", "the fields are name, region, endpoint, project_id, token, iam_endpoint, instances, exclude, "),
    ],
)
def test_unknown_field__is_refused_with_a_hint(field: str, hint: str) -> None:
    ((line, path, message),) = faults(document(f"{field}: {VALUE}"))
    assert (line, path) == (7, f"targets[0].{field}")
    assert message.startswith(f"is not a field of a target: {hint}")


@pytest.mark.parametrize("key", [f"MIIx/{VALUE}+", "x" * 65, '"a b"'])
def test_unknown_field__that_is_not_a_plain_name__is_not_shown(key: str) -> None:
    ((line, path, message),) = faults(document(f"{key}: 1"))
    assert (line, path) == (7, "targets[0].(entry 6)")
    assert key not in message


def test_faults__more_than_50__end_with_their_number() -> None:
    found = faults(document(*(f"field{number}: 1" for number in range(60))))
    assert len(found) == 51
    assert found[0].line == 7
    assert found[-1] == ConfigFault(None, "", "+10 more")


def test_instances__more_than_6000__are_refused() -> None:
    half = "[" + ", ".join(f"id-{number}" for number in range(3000)) + "]"
    third = document(instances="[id-1]").removeprefix("targets:\n").replace("emea", "apac")
    two = document(instances=half) + document(instances=half, name="b").removeprefix("targets:\n")
    assert len(load(two.encode(), PRESENT)) == 2
    assert places(two + third) == [(16, "targets[2].instances")]


def test_token_fault__has_the_line_of_the_token() -> None:
    with pytest.raises(ConfigFaults) as caught:
        load(document(name="").encode(), PRESENT, lambda _: "must be a secret URL")
    assert [fault[:2] for fault in caught.value.faults] == [(2, "targets[0].name"), (5, "targets[0].token")]


ENVIRONMENT = {"FDI_PROJECT_ID": "p", "FDI_INSTANCES": "a=id-1,b=id-2", "FDI_TOKEN": "env://T"}


@pytest.mark.parametrize(
    ("variables", "fields"),
    [
        ({"FDI_REGION": "cn-north-4"}, {}),
        ({"FDI_ENDPOINT": "https://roma.example/"}, {"region": "absent", "endpoint": "https://roma.example/"}),
        (
            {
                "FDI_REGION": "cn-north-4",
                "FDI_ENDPOINT": "https://r.example",
                "FDI_IAM_ENDPOINT": "https://i.example/v3",
            },
            {"endpoint": "https://r.example", "iam_endpoint": "https://i.example/v3"},
        ),
        (
            {
                "FDI_REGION": "cn-north-4",
                "FDI_OPTIONAL_TASK_GROUPS": "cdc",
                "FDI_ALLOW_EMPTY": "a,*",
                "FDI_FLOW_TASKS": "check",
                "FDI_MIN_TASKS": "*=1,a=3",
                "FDI_MIN_RUNNING_TASKS": "id-1=2",
                "FDI_MUTE": "a=2026-12-02T22:00+01:00/2026-12-03T06:00+01:00,*=2026-12-05T00:00Z",
                "FDI_MUTED_TASKS": "a/nightly=2026-12-31T00:00Z",
            },
            {
                "optional_task_groups": "[cdc]",
                "allow_empty": "[a, '*']",
                "flow_tasks": "check",
                "policy": "{a: {min_tasks: 3, mute: 2026-12-02T22:00+01:00/2026-12-03T06:00+01:00, muted_tasks: "
                "{nightly: 2026-12-31T00:00Z}}, '*': {min_tasks: 1, mute: 2026-12-05T00:00Z}, "
                "id-1: {min_running_tasks: 2}}",
            },
        ),
    ],
)
def test_environment_and_document__that_say_the_same__give_equal_settings(
    variables: dict[str, str], fields: dict[str, str]
) -> None:
    target = from_settings(settings.load({**ENVIRONMENT, **variables}, PRESENT))
    assert target == loaded(**fields)._replace(name=None)


PIECES = st.sampled_from(
    [
        *"{}[]:-?&*!|>'\"%@`#,~<\n\t \\",
        *(
            ": ",
            "\n  ",
            "\n- ",
            "- ",
            "<<",
            "---\n",
            "...\n",
            "\ufeff",
            "\\ud800",
            "\\U",
            "null",
            "%YAML 1.1",
            "!!",
            "a",
        ),
        *("targets", "name", "region", "instances", "policy", "muted_tasks", "1"),
    ]
)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")),
        st.lists(PIECES, max_size=60).map(lambda pieces: "".join(pieces).encode()),
        st.lists(PIECES, max_size=20).map(lambda pieces: document(name="".join(pieces)).encode()),
        st.lists(PIECES, max_size=20).map(lambda pieces: (document() + "    policy: " + "".join(pieces)).encode()),
    )
)
def test_any_bytes__are_targets_or_faults(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for _ in range(2):
            began = time.monotonic()
            try:
                assert load(data, PRESENT)
            except ConfigFaults as error:
                assert 0 < len(error.faults) <= 51
                "".join(fault.path + fault.message for fault in error.faults).encode()
            assert_within(began, 5)
            patch.delattr(yaml, "CSafeLoader", raising=False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(REFUSED)), JSON)
def test_any_value_of_a_field__gives_targets_or_faults_of_it(field: str, value: Any) -> None:
    target = {"name": "emea", "region": "cn-north-4", "project_id": "p", "token": "env://T", "instances": ["a"]}
    try:
        load(json.dumps({"targets": [{**target, field: value}]}).encode(), PRESENT)
    except ConfigFaults as error:
        assert all(fault.path.startswith("targets[0]") for fault in error.faults)


def test_pyyaml__is_imported_only_for_a_yaml_document() -> None:
    program = (
        "import sys, schemas.config_document as c\n"
        "try: c.load(b'{}', 0.0)\n"
        "except c.ConfigFaults: print('yaml' in sys.modules)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603 -- our own program
    assert done.stdout == "False\n"


def test_settings_of_a_target__hide_their_values() -> None:
    assert repr(loaded(token=f"env://{VALUE}")) == "TargetSettings('emea')"
