"""What the reference says that the code does not."""

from turnout import messages

HEAD = """# Reference

Every setting, message, refusal, limit and option. Written from the code by `make reference`; a test fails when it is
not what the code says. Elsewhere: routes and [metrics](API.md#metrics) are in [API.md](API.md), commands and
[exit codes](CLI.md#for-programs) in [CLI.md](CLI.md), what to choose in [JOB_FOLDER.md](JOB_FOLDER.md), and how
devices talk in [PROTOCOL.md](PROTOCOL.md)."""

SETTINGS = """
## Settings of job.toml

A table with several forms is chosen by the key in its title. A key that is not here is an error.
"""

SERVER = """
## Settings of a server

The file of `turnout up --config`, such as [`server.toml`](../examples/deploy/server.toml). Paths in it are relative to
its folder. An option of the command line takes precedence.
"""

MESSAGES = """
## Messages

What devices send and get, field by field; how they look on the wire is in [PROTOCOL.md](PROTOCOL.md). An absent field
holds its default."""

STATUSES = """
## Statuses, states and reasons

[PROTOCOL.md](PROTOCOL.md) says what each status means for each request. A job, as `turnout jobs` shows it:
"""

STATES = """
The process of a running job, as `turnout show` and `turnout_job_state` show it:
"""

REFUSED_BY_JOBS = """
A result that a job refuses is counted by one of these reasons (`turnout_results_total`, `turnout show`), and its device
hears why:
"""

REFUSED_BY_GATEWAYS = """
What a gateway refuses by itself (`turnout_gateway_refused_total`):
"""

LIMITS = """
## Limits

Of each gateway process. Those that an operator can set are [settings of a server](#settings-of-a-server), by the same
names. If another of them is too tight for you, please tell us."""

#: Where the code has no comment, because the name says it.
PLAIN_LIMITS = {"headers_max": "Header lines of one request."}

OPTIONS = """
## Options of commands

Every command also takes `--json`, and those about jobs and tokens `--server` (or `--url`) and `--token`; see
[CLI.md](CLI.md#which-server). `--help` has examples."""

EVERYWHERE = {"--json", "--server", "--token"}

VARIABLES = """
## Environment variables
"""

ENVIRONMENT = {
    "TURNOUT_URL": "the API that commands talk to, in the place of your server on this machine",
    "TURNOUT_TOKEN": "the token that they show there, in the place of that server's own",
    "TURNOUT_JOB_": "begins the names of variables that are for the code of jobs; [others do not reach "
    "it](OPERATIONS.md#who-may-use-it)",
    "TURNOUT_JOURNAL": "`memory` keeps nothing over the end of a job's process; for measurements only",
    "TURNOUT_PORT": "which server a gateway within an ASGI server belongs to: the port of its own gateways",
    "TURNOUT_CORS_ORIGINS": "the web pages that may use such a gateway, separated by spaces",
    "TURNOUT_RESULT_BYTES_MAX": "the largest result that such a gateway takes, in bytes, as `--result-bytes-max`",
    "TURNOUT_STARTED_BY": "set for the check of a folder: what its code starts is found by it, and ended",
    "TURNOUT_WEIGHTS_MODEL_BYTES_MAX": "the largest model that it sends as JSON, as `--weights-model-bytes-max`",
    "XDG_STATE_HOME": "where commands find your servers, in `turnout/servers`; without it, `.local/state` of `HOME`",
    "XDG_RUNTIME_DIR": "where the sockets of a server are; without it, a folder of one's own in `/tmp`, and where that "
    "cannot be written to, `run` in the data folder",
}

EDGE_MESSAGES = (
    messages.JobRequest,
    messages.JobResponse,
    messages.TaskRequest,
    messages.TaskResponse,
    messages.SelectionRequest,
    messages.SelectionResponse,
    messages.ResultReport,
    messages.ResultResponse,
    messages.DeviceInfo,
    messages.UserInfo,
)

_HEADERS = "headers"
_BODY = "body"
_QUERY = "query"
_BOTH = "query or body"
_WHO = (_HEADERS, "who asks: DeviceInfo")
_USER = (_HEADERS, "who uses it: UserInfo")
_JOB = (_BOTH, "the job, as the answer to the job request called it")
_STATUS = (_BODY, "how the request ended")
_RETRY = (_BODY, "seconds until it should ask again; milliseconds for `platform=android`")
_MESSAGE = (_BODY, "why, for people")
_INFO = "`X-Flare-Device-Info`"
_WHOSE = "`X-Flare-User-Info`"
_CARRIED = (_WHOSE, "carried, not used")

#: Fields that never travel between a device and a gateway.
NOT_SENT = {"SelectionRequest.fleet", "ResultReport.absolute", "ResultReport.metrics_left_out"}

FIELDS = {
    "JobRequest.device": _WHO,
    "JobRequest.job_name": (_BODY, "the name of a job"),
    "JobRequest.capabilities": (_BODY, "what the device can do; its list `methods` must be there, and may be empty"),
    "JobRequest.user": _USER,
    "JobResponse.status": _STATUS,
    "JobResponse.job_id": (_BODY, "the job to ask for tasks"),
    "JobResponse.job_name": (_BODY, "the name that was asked for"),
    "JobResponse.job_data": (_BODY, "`config`: the job's `device_config.json`, if it has one"),
    "JobResponse.retry_wait": _RETRY,
    "JobResponse.message": _MESSAGE,
    "TaskRequest.device": _WHO,
    "TaskRequest.job_id": _JOB,
    "TaskRequest.cookie": (_BODY, "that of the last task, as it came"),
    "TaskRequest.accept": (_BODY, "`safetensors`: the model by reference; `validate`: can measure a model"),
    "TaskRequest.user": _USER,
    "TaskResponse.status": _STATUS,
    "TaskResponse.job_id": (_BODY, "the job"),
    "TaskResponse.task_id": (_BODY, "the lease: send it back unchanged with the result"),
    "TaskResponse.task_name": (_BODY, "`train` or `validate`"),
    "TaskResponse.task_data": (_BODY, "the model, or where it is"),
    "TaskResponse.cookie": (_BODY, "for the next task request"),
    "TaskResponse.lease_s": (_BODY, "seconds for which the place is kept; a later result may still count"),
    "TaskResponse.retry_wait": _RETRY,
    "TaskResponse.message": _MESSAGE,
    "SelectionRequest.device": _WHO,
    "SelectionRequest.job_id": _JOB,
    "SelectionRequest.user": _USER,
    "SelectionResponse.status": _STATUS,
    "SelectionResponse.job_id": (_BODY, "the job"),
    "SelectionResponse.task_id": (_BODY, "not used; FLARE's clients know the field"),
    "SelectionResponse.selection": (_BODY, "ids of devices with the number of their selection; `*`: any that asks"),
    "SelectionResponse.retry_wait": _RETRY,
    "SelectionResponse.message": _MESSAGE,
    "ResultReport.device": _WHO,
    "ResultReport.job_id": _JOB,
    "ResultReport.task_id": (_BOTH, "the lease, as it came; in the query for large bodies"),
    "ResultReport.task_name": (_BOTH, "that of the task"),
    "ResultReport.update": (_BODY, "the model after training minus the model before, in one of the forms"),
    "ResultReport.num_examples": (_BOTH, "from how many examples it was learned; `count` in a `WEIGHT_DIFF`"),
    "ResultReport.metrics": (_BOTH, "numbers by name, at most 64 and 8 KiB"),
    "ResultReport.status": (
        _BOTH,
        "`OK`; `ERROR`: the task could not be done; `VALIDATED`: measured only; `NO_EXAMPLES`: nothing to do it with",
    ),
    "ResultReport.cookie": (_BODY, "that of the task, as it came; at most 4 KiB"),
    "ResultReport.user": _USER,
    "ResultResponse.status": _STATUS,
    "ResultResponse.counted": (_BODY, "the promise: it is in the model exactly once, and stays there"),
    "ResultResponse.task_id": (_BODY, "that of the result"),
    "ResultResponse.task_name": (_BODY, "that of the result"),
    "ResultResponse.message": _MESSAGE,
    "ResultResponse.retry_wait": (_BODY, "seconds until it should send the same result again"),
    "ResultResponse.duplicate": (_BODY, "it was counted already, and is counted once"),
    "DeviceInfo.device_id": ("`X-Flare-Device-ID`", "required; up to 128 characters"),
    "DeviceInfo.app_name": (_INFO, "the app that asks"),
    "DeviceInfo.app_version": (_INFO, "its version; `app_version_min` of a job goes by it"),
    "DeviceInfo.platform": (_INFO, "`android`, `ios`, `linux`, ...; `platforms` of a job goes by it"),
    "DeviceInfo.platform_version": (_INFO, "the system's version"),
    "DeviceInfo.extra": (_INFO, "all other fields of the header"),
    "UserInfo.user_id": _CARRIED,
    "UserInfo.user_name": _CARRIED,
    "UserInfo.access_token": _CARRIED,
    "UserInfo.auth_token": _CARRIED,
    "UserInfo.auth_session": _CARRIED,
    "UserInfo.extra": _CARRIED,
}

JOB_STATES = {
    "running": "its process runs, or is being started",
    "cancelling": "a person has cancelled it; results of tasks that are out still count",
    "completed": "a stop rule was reached",
    "cancelled": "a person has cancelled it; `turnout start` continues it from its last commit",
    "failed": "it ended short of its stop rule; the reason says why, and `turnout start` tries again",
}

STATES_OF_CORE = {
    "RECOVER": "it starts, or starts again: nothing is answered before its first commit",
    "OPEN": "tasks are given out, results are counted",
    "PAUSED": "no tasks are given out, results count; `turnout resume` continues it",
    "FULL": "it cannot write: nothing is acknowledged, no tasks are given out; it tries again each second",
    "ENDING": "no new tasks are given out; the last version is being closed",
    "ENDED": "it has ended",
}
