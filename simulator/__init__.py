"""A loopback server that plays ROMA Connect FDI's task statistics, correctly or with faults."""

from simulator.access_keys import AccessKeys, SecretKey
from simulator.documented_responses import (
    DOC_EXAMPLE,
    DOC_INSTANCE_ID,
    DOC_PROJECT_ID,
    HEALTHY,
    NO_TASKS,
    error_response,
)
from simulator.faults import fault_names
from simulator.iam import Iam, User
from simulator.monitored_task import MonitoredTask
from simulator.request_parser import Request
from simulator.responses import (
    Response,
    drip,
    json_response,
    raw_response,
    redirect,
    response_bytes,
    statistics_response,
)
from simulator.simulator import Simulator

__all__ = [
    "DOC_EXAMPLE",
    "DOC_INSTANCE_ID",
    "DOC_PROJECT_ID",
    "HEALTHY",
    "NO_TASKS",
    "AccessKeys",
    "Iam",
    "MonitoredTask",
    "Request",
    "Response",
    "SecretKey",
    "Simulator",
    "User",
    "drip",
    "error_response",
    "fault_names",
    "json_response",
    "raw_response",
    "redirect",
    "response_bytes",
    "statistics_response",
]
