"""What the AWS stores share: their secret URLs, the region, and one call to AWS that ends in time.

botocore finds the credentials, and its own variables work, such as AWS_ENDPOINT_URL. boto3, which is built on it, is
not needed.
"""

from __future__ import annotations

import logging
import os
import re
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from fdi_health.secret_stores import InvalidSecretUrl, build_error, build_missing_library_error, map_vendor_error
from fdi_health.secret_stores.aws.errors import FILE_ERRORS, map_error_response, map_file_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.clock import Deadline
    from fdi_health.secret_stores import SecretUrl
    from fdi_health.secret_stores.aws.errors import Service

_REGION = re.compile(r"region=([a-z0-9-]{1,32})", re.ASCII)
_REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")
_CONTAINER_VARIABLES = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
_ATTEMPTS = 2
_WAIT_SECONDS = 0.05
"""Between two requests for a container's credentials, and after the last one."""


def parse_region(url: SecretUrl, name: re.Pattern[str], arn: re.Pattern[str], form: str) -> str | None:
    """Check a secret URL that contains a name or an ARN; returns its region, or None if it contains none.

    Args:
        url: the secret URL.
        name: matches the names of the service's secrets.
        arn: matches their ARNs; its first group is the region.
        form: the message for a malformed URL: the expected form with an example.

    Raises:
        InvalidSecretUrl: it is malformed, or `?region=` contradicts the ARN.

    """
    full, query = arn.fullmatch(url.place), _REGION.fullmatch(url.query)
    region = query[1] if query else None
    if not (full or name.fullmatch(url.place)) or (url.query and not query) or (full and region not in (None, full[1])):
        raise InvalidSecretUrl(form)
    return full[1] if full else region


def find_region(region: str | None, environ: Mapping[str, str]) -> str:
    """Return the region of the secret URL, or else that of the process's environment; raises CheckError."""
    found = region or next((environ[name] for name in _REGION_VARIABLES if environ.get(name)), None)
    if found is None:
        raise build_error(
            "could not be read: its region is not known",
            "Add ?region= to the name in the secret URL, e.g. ?region=eu-west-1, or use the ARN of the secret.",
        )
    return found


def call(service: Service, operation: str, region: str, deadline: Deadline, **arguments: str | bool) -> dict[str, Any]:
    """Call an operation of a service and return AWS's response. `operation` is the method of botocore's client.

    Raises:
        CheckError: `token_unavailable`.

    """
    _limit_logging()
    try:
        import botocore.session  # takes 0.2 s, so only if an AWS store is used
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError:
        raise build_missing_library_error("aws") from None

    try:
        client = _open_client(botocore.session.get_session(), service.name, region, deadline)
        try:
            response: dict[str, Any] = getattr(client, operation)(**arguments)
        finally:
            client.close()
    except ClientError as error:
        raise map_error_response(service, error, error.response.get("Error", {})) from None
    except BotoCoreError as error:
        default = ("could not be read", "Check the region and the AWS configuration.")
        raise map_vendor_error(error, service.all_errors(), default) from None
    except FILE_ERRORS as error:
        raise map_file_error(error) from None
    return response


def _limit_logging() -> None:
    """Log nothing of botocore at level DEBUG: it logs whole responses, and the headers that contain a session token."""
    for name in ("botocore", *(name for name in list(logging.root.manager.loggerDict) if name.startswith("botocore."))):
        library = logging.getLogger(name)
        if library.getEffectiveLevel() < logging.INFO:
            library.setLevel(logging.INFO)


def _open_client(session: Any, service: str, region: str, deadline: Deadline) -> Any:
    from botocore.config import Config

    session.register_component("data_loader", _description_loader())
    share = max(0.001, deadline.remaining() / _ATTEMPTS)
    # The metadata service is the last source of credentials, and may be unreachable. The session's own method would cut
    # the seconds to a whole number, and urllib3 refuses a timeout of 0.
    session.get_component("config_store").set_config_variable("metadata_service_timeout", share)
    session.set_config_variable("metadata_service_num_attempts", 1)
    config = Config(
        connect_timeout=share, read_timeout=share, retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"}
    )
    # By default, requests for credentials, e.g. to STS, may take a minute each.
    session.set_default_client_config(config)
    if any(os.environ.get(name) for name in _CONTAINER_VARIABLES):
        _limit_container_credentials(session, deadline)
    return session.create_client(service, region_name=region, config=config)


@cache
def _description_loader() -> Any:
    """Return the object that loads botocore's descriptions of services from its files, and keeps them.

    Parsing them takes most of a read, about 0.1 s, so only the first read of a process does it.
    """
    from botocore.loaders import create_loader

    return create_loader(os.environ.get("AWS_DATA_PATH"))


def _limit_container_credentials(session: Any, deadline: Deadline) -> None:
    """Limit the requests for a container's credentials. By default they may take 8 s: 3 times 2 s, and waits."""
    from botocore.credentials import ContainerProvider
    from botocore.httpsession import URLLib3Session
    from botocore.utils import ContainerMetadataFetcher

    share = deadline.remaining() / ContainerMetadataFetcher.RETRY_ATTEMPTS
    http = URLLib3Session(timeout=max(0.001, share - _WAIT_SECONDS))
    fetcher = ContainerMetadataFetcher(http, sleep=lambda _: time.sleep(_WAIT_SECONDS))
    session.get_component("credential_provider").insert_before(
        ContainerProvider.METHOD, ContainerProvider(None, fetcher)
    )
