"""A loopback server that plays ROMA Connect FDI's task statistics, well or badly."""

from simulator.documented import DOC_EXAMPLE, DOC_INSTANCE_ID, DOC_PROJECT_ID, HEALTHY, NO_TASKS, error_answer
from simulator.faults import fault_names
from simulator.iam import Iam, User
from simulator.received import Request
from simulator.responses import Answer, drip, json_answer, raw_answer, redirect, response_bytes, statistics_answer
from simulator.simulator import Simulator

__all__ = [
    "DOC_EXAMPLE",
    "DOC_INSTANCE_ID",
    "DOC_PROJECT_ID",
    "HEALTHY",
    "NO_TASKS",
    "Answer",
    "Iam",
    "Request",
    "Simulator",
    "User",
    "drip",
    "error_answer",
    "fault_names",
    "json_answer",
    "raw_answer",
    "redirect",
    "response_bytes",
    "statistics_answer",
]
