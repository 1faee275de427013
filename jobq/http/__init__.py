"""The HTTP API without a framework: adapters translate requests and answers, and nothing else."""

from jobq.http.access import AllOf, Anonymous, AnyOf, ApiKey, Owner, Policy, Scope
from jobq.http.api import DriveApi, JobsApi, Options
from jobq.http.debug import in_debug
from jobq.http.hooks import ProviderWebhook
from jobq.http.messages import Request, Response, Stream
from jobq.http.parameters import Parameter
from jobq.http.problems import Problem
from jobq.http.routes import ROUTES, Answer, Route
from jobq.http.trigger import atrigger_worker, trigger_worker

__all__ = [
    "ROUTES",
    "AllOf",
    "Anonymous",
    "Answer",
    "AnyOf",
    "ApiKey",
    "DriveApi",
    "JobsApi",
    "Options",
    "Owner",
    "Parameter",
    "Policy",
    "Problem",
    "ProviderWebhook",
    "Request",
    "Response",
    "Route",
    "Scope",
    "Stream",
    "atrigger_worker",
    "in_debug",
    "trigger_worker",
]
