"""The zip that osls builds: its contents, its CloudFormation template, and a run under AWS's own emulator."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from handlers.routes import ROUTES
from tests.conformance.platform import PlatformSuite, Question, settings_for
from tests.deploy.programs import unzip
from tests.emulator import emulated, gather_runtime_client
from tests.machine import assert_within
from tests.platform_events import answer_of, http_api
from tests.servers import ROOT, clean_environ
from tests.tools import lambda_emulator, osls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from simulator import Simulator
    from tests.conformance.platform import EntryPoint

LINES_A_LOCK_FILE_NEEDS = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build in a copy of the tree, and return the folder of what came out."""
    program = osls()
    tree = tmp_path_factory.mktemp("tree")
    for name in ("main.py", "serverless.yml", "package.json"):
        shutil.copy(ROOT / name, tree)
    for name in ("handlers", "schemas", "fdi_health", "deploy"):
        shutil.copytree(ROOT / name, tree / name)
    (tree / "node_modules").symlink_to(ROOT / "node_modules")
    environ = {**clean_environ({}, tree), "SLS_TELEMETRY_DISABLED": "1", "CI": "1"}
    built = subprocess.run(  # noqa: S603 -- a program of ours
        [program, "package", "--stage=prod"],
        cwd=tree,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return tree / ".serverless"


@pytest.fixture(scope="module")
def unzipped(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unzip(package / "fdi-health.zip", tmp_path_factory.mktemp("unzipped"))


@pytest.fixture(scope="module")
def template(package: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((package / "cloudformation-template-update-stack.json").read_text())
    return document


def resources(template: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    return [found["Properties"] for found in template["Resources"].values() if found["Type"] == kind]


def test_zip__holds_only_what_the_function_imports(package: Path) -> None:
    with zipfile.ZipFile(package / "fdi-health.zip") as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    ours = {"main.py", "handlers", "schemas", "fdi_health"}
    theirs = {"apig_wsgi", "certifi", "charset_normalizer", "idna", "jinja2", "markupsafe", "marshmallow"}
    theirs |= {"requests", "urllib3", "yaml", "_yaml"}
    assert tops - ours - theirs <= {"requirements.txt"}
    assert ours | theirs <= tops
    assert {"handlers/openapi.json", "handlers/templates/status.html", "handlers/templates/status.css"} <= set(names)
    assert not [name for name in names if name.startswith(("fdi_health/diagnostics", "fdi_health/cli"))]
    assert not {"handlers/triggers/azure_functions.py", "handlers/triggers/functiongraph.py"} & set(names)
    assert not [name for name in names if name.endswith((".so", ".pyd"))]
    assert (package / "fdi-health.zip").stat().st_size < 1_200_000


def test_lambda_requirements__have_the_versions_of_the_root() -> None:
    root = dict(LINES_A_LOCK_FILE_NEEDS.findall((ROOT / "requirements.txt").read_text()))
    ours = dict(LINES_A_LOCK_FILE_NEEDS.findall((ROOT / "deploy" / "lambda" / "requirements.txt").read_text()))
    assert ours
    assert ours.items() <= root.items()
    assert not ours.keys() & {
        "grpcio",
        "functions-framework",
        "flask",
        "boto3",
        "botocore",
        "google-cloud-secret-manager",
    }


def test_template__passes_cfn_lint(package: Path) -> None:
    linter = Path(sys.executable).parent / "cfn-lint"
    # W3005: osls writes a DependsOn beside a reference for each route, which is one word too many and does no harm.
    command = [str(linter), "--ignore-checks", "W3005", "--regions", "eu-west-1", "--"]
    templates = [str(path) for path in sorted(package.glob("cloudformation-template-*.json"))]
    command += templates
    linted = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603 -- as above
    assert linted.returncode == 0, linted.stdout


def test_role__allows_one_secret_and_its_own_log_only(template: dict[str, Any]) -> None:
    (role,) = resources(template, "AWS::IAM::Role")
    (policy,) = role["Policies"]
    allowed = {
        (action, json.dumps(statement["Resource"]))
        for statement in policy["PolicyDocument"]["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
        if not action.startswith("logs:")
    }
    secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:roma-key-AbCdEf"
    assert allowed == {("secretsmanager:GetSecretValue", json.dumps(secret))}
    statements = policy["PolicyDocument"]["Statement"]
    assert "*" not in json.dumps([statement["Action"] for statement in statements])
    # The framework's own statements end in a star below one log group: which must be ours.
    logs = [resource for statement in statements for resource in statement["Resource"] if "logs" in str(resource)]
    assert all("log-group:/aws/lambda/fdi-health-prod" in str(resource) for resource in logs)
    assert logs


def test_template__has_the_expected_runtime_timeout_secret_and_log_retention(template: dict[str, Any]) -> None:
    (function,) = resources(template, "AWS::Lambda::Function")
    assert (function["Runtime"], function["Architectures"]) == ("python3.13", ["arm64"])
    assert function["Handler"] == "main.lambda_handler"
    variables = function["Environment"]["Variables"]
    assert function["Timeout"] > float(variables["FDI_DEADLINE_SECONDS"])
    assert variables["FDI_TOKEN"].startswith("awssecretsmanager://arn:")
    (log_group,) = resources(template, "AWS::Logs::LogGroup")
    assert log_group["RetentionInDays"] == 30
    (rule,) = resources(template, "AWS::Events::Rule")
    assert rule["State"] == "DISABLED"


def test_stage__throttles_and_function__has_a_limit_of_environments(template: dict[str, Any]) -> None:
    (stage,) = resources(template, "AWS::ApiGatewayV2::Stage")
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == 20
    assert stage["DefaultRouteSettings"]["ThrottlingBurstLimit"] == 40
    (function,) = resources(template, "AWS::Lambda::Function")
    assert function["ReservedConcurrentExecutions"] == 5


def test_function__starts_from_a_snapshot_of_the_version_that_is_called(template: dict[str, Any]) -> None:
    (function,) = resources(template, "AWS::Lambda::Function")
    assert function["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    (alias,) = resources(template, "AWS::Lambda::Alias")
    called = {"Fn::Join": [":", [{"Fn::GetAtt": ["HealthLambdaFunction", "Arn"]}, alias["Name"]]]}
    (integration,) = resources(template, "AWS::ApiGatewayV2::Integration")
    assert integration["IntegrationUri"] == called
    (rule,) = resources(template, "AWS::Events::Rule")
    assert [target["Arn"] for target in rule["Targets"]] == [called]


SAM = ROOT / "deploy" / "lambda" / "template.yaml"


def test_sam_template__passes_cfn_lint() -> None:
    command = [str(Path(sys.executable).parent / "cfn-lint"), "--regions", "eu-west-1", "--", str(SAM)]
    linted = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603 -- as above
    assert linted.returncode == 0, linted.stdout


def test_sam_template__has_the_routes_and_settings_of_serverless_yml(template: dict[str, Any]) -> None:
    text = re.sub(r"!(\w+) ", "", SAM.read_text())  # a plain loader does not know !Ref and !Sub
    health = yaml.safe_load(text)["Resources"]["Health"]["Properties"]
    events = [event["Properties"] for event in health["Events"].values() if event["Type"] == "HttpApi"]
    served = {f"{method} {path}" for path, route in ROUTES.items() for method in (*route.methods, "OPTIONS")}
    assert {f"{event['Method']} {event['Path']}" for event in events} == served
    (function,) = resources(template, "AWS::Lambda::Function")
    assert health["Environment"]["Variables"].keys() == function["Environment"]["Variables"].keys()
    for name in ("Handler", "Runtime", "MemorySize", "Timeout", "Architectures"):
        assert health[name] == function[name]
    # SAM publishes a version for new code only: behind an alias, a changed parameter would have no effect.
    assert not {"SnapStart", "AutoPublishAlias"} & health.keys()


def test_sam_template__has_the_alarms_of_serverless_yml() -> None:
    def plain(text: str) -> Any:
        return yaml.safe_load(re.sub(r"!(\w+) ", "", text))["Resources"]

    sam = plain(SAM.read_text())
    text = (SAM.parent / "alarms.yml").read_text().replace("HealthLogGroup", "Log")
    for name, part in plain(text.replace("${self:service}-${sls:stage}", "${AWS::StackName}")).items():
        assert sam[name].pop("Condition") == "IsScheduled"
        assert json.dumps(sam[name]).replace('"AWS::StackName"', '"${AWS::StackName}"') == json.dumps(part)


def test_template_routes__equal_the_served_routes(template: dict[str, Any]) -> None:
    routed = {route["RouteKey"] for route in resources(template, "AWS::ApiGatewayV2::Route")}
    served = {f"{method} {path}" for path, route in ROUTES.items() for method in (*route.methods, "OPTIONS")}
    assert routed == served


@pytest.fixture(scope="module")
def run(unzipped: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Return a context manager that runs the unzipped package under the emulator and gives what invokes it."""
    program, client = lambda_emulator(), tmp_path_factory.mktemp("runtime-client")
    gather_runtime_client(client)

    def start(settings: Mapping[str, str]) -> Any:
        home = tmp_path_factory.mktemp("home")
        return emulated(program, unzipped, client, home, settings, "main.lambda_handler")

    return start


class TestUnderTheEmulator(PlatformSuite):
    """The suite once more, through the unzipped package, awslambdaric and the emulator."""

    @pytest.fixture(scope="class")
    @classmethod
    def entry_point(cls, upstream: Simulator, run: Callable[..., Any]) -> Iterator[EntryPoint]:
        with run(settings_for(upstream)) as invoke:
            yield lambda question: answer_of(invoke(http_api(question)))


def test_function__with_the_documented_example__is_unhealthy(upstream: Simulator, run: Callable[..., Any]) -> None:
    with run(settings_for(upstream)) as invoke:
        answer = answer_of(invoke(http_api(Question(target="/?instance=payments"))))
        assert (answer.status, answer.headers["fdi-verdict"]) == (503, "unhealthy")
        assert invoke({"source": "aws.events"})["status"] == "unhealthy"
        assert invoke({})["healthy"] is False


def test_function__without_settings__serves_live(run: Callable[..., Any]) -> None:  # C97
    with run({}) as invoke:
        assert answer_of(invoke(http_api(Question(target="/live")))).status == 200
        answer = answer_of(invoke(http_api(Question())))
        assert (answer.status, json.loads(answer.body)["code"]) == (500, "settings_invalid")
        assert answer_of(invoke(http_api(Question(target="/ready")))).status == 503


def test_function__with_little_time_left__responds_before_the_platform_ends_it(
    upstream: Simulator, run: Callable[..., Any]
) -> None:  # C75
    settings = settings_for(upstream)
    upstream.play("id-crm", "silent")
    limits = {"AWS_LAMBDA_FUNCTION_TIMEOUT": "2", "FDI_DEADLINE_SECONDS": "8"}
    with run({**settings, **limits}) as invoke:
        assert answer_of(invoke(http_api(Question(target="/?instance=orders")))).status == 200
        began = time.monotonic()
        answer = answer_of(invoke(http_api(Question(target="/?instance=crm,orders"))))
        assert_within(began, 2)
        assert (answer.status, answer.headers["fdi-verdict"]) == (503, "unknown")


def test_function__invoked_many_times__responds_each_time(upstream: Simulator, run: Callable[..., Any]) -> None:
    turn = threading.Lock()  # the emulator takes one at a time, as an environment of Lambda's does
    with run(settings_for(upstream)) as invoke, ThreadPoolExecutor(24) as callers:

        def ask(_: int) -> str:
            with turn:
                return answer_of(invoke(http_api(Question(target="/?instance=orders")))).headers["fdi-verdict"]

        assert list(callers.map(ask, range(24))) == ["healthy"] * 24


def test_function__with_a_base64_body__decodes_it(upstream: Simulator, run: Callable[..., Any]) -> None:
    body = base64.b64encode(b'{"instance":"orders"}').decode()
    with run(settings_for(upstream)) as invoke:
        event = http_api(Question("POST")) | {"body": body, "isBase64Encoded": True}
        assert answer_of(invoke(event)).headers["fdi-verdict"] == "healthy"


def test_osls_print__shows_the_deployment_without_secrets(tmp_path: Path) -> None:
    program = osls()
    for name in ("serverless.yml", "package.json"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("deploy", "node_modules"):
        (tmp_path / name).symlink_to(ROOT / name)
    environ = {**clean_environ({}, tmp_path), "SLS_TELEMETRY_DISABLED": "1", "CI": "1", "ROMA_TOKEN": "s3cr3t"}
    printed = subprocess.run(  # noqa: S603 -- a program of ours
        [program, "print", "--stage=prod", "--param=instances=a=1,b=2"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert printed.returncode == 0, printed.stdout + printed.stderr
    assert "FDI_INSTANCES: a=1,b=2" in printed.stdout
    assert "s3cr3t" not in printed.stdout
