"""What devices send, as the bytes of whole requests, and the words of a reply that show that it is the right one."""

import msgspec
import numpy as np

from turnout.messages import (
    DeviceInfo,
    JobRequest,
    ModelSchema,
    ResultReport,
    SelectionRequest,
    TaskRequest,
    TensorSpec,
)
from turnout.wire.edge_replies import blob_path
from turnout.wire.edge_requests import JSON, HttpRequest, encode_request
from turnout.wire.edge_results import encode_result

NUM_PARAMETERS = 1000
TASK_ID_CHARS = 98  #: About as long as those of a job, where none has to be right.

OK = '"status":"OK"'
RETRY = '"status":"RETRY"'
COUNTED = '"counted":true'

#: What the references answer: about as long as a reply of a gateway, and with every word that is looked for.
STATIC_REPLY = {
    "status": "OK",
    "counted": True,
    "job_id": "bench-0000000000000000",
    "job_name": "bench",
    "job_data": {"config": {"batch_size": 32, "epochs": 1, "learning_rate": 0.1, "text": "x" * 40}},
}


def schema(parameters: int) -> ModelSchema:
    """A model of one tensor."""
    return ModelSchema((TensorSpec("w", (parameters,)),))


def device(number: int) -> DeviceInfo:
    """A device; every number is another one."""
    return DeviceInfo(f"device-{number:06d}", "bench", "1.0.0", "linux", "6.1")


def job_requests(job_name: str, devices: int) -> list[bytes]:
    """Which job is there for me?"""
    return [_bytes(encode_request(JobRequest(device(i), job_name))) for i in range(devices)]


def task_requests(job_id: str, devices: int) -> list[bytes]:
    """What shall I do?"""
    return [_bytes(encode_request(TaskRequest(device(i), job_id, accept=("safetensors",)))) for i in range(devices)]


def inline_requests(job_id: str, devices: int) -> list[bytes]:
    """What shall I do, and give me the model as JSON?"""
    return [_bytes(encode_request(TaskRequest(device(i), job_id))) for i in range(devices)]


def selection_requests(job_id: str, devices: int) -> list[bytes]:
    """Who is selected?"""
    return [_bytes(encode_request(SelectionRequest(device(i), job_id))) for i in range(devices)]


def blob_request(job_id: str, sha256: str) -> bytes:
    """Give me the model."""
    return f"GET {blob_path(job_id, sha256)} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


def result_requests(
    job_id: str, tasks: dict[int, str], parameters: int, as_json: bool = False
) -> tuple[list[bytes], bytes]:
    """What I have learned, from each device that has a task; ``tasks`` are their ids by the device's number.

    The heads, and the one body of all: bodies of megabytes for every device would not fit into memory.
    """
    update = memoryview(np.linspace(-0.01, 0.01, parameters, dtype="<f4").tobytes())
    model, heads, body = schema(parameters), [], b""
    for i, task_id in tasks.items():
        report = ResultReport(device(i), job_id, task_id, "train", update, 32.0, {"loss": 0.25})
        request = encode_result(report, model)
        if as_json:
            numbers = {"w": np.frombuffer(update, "<f4").tolist()}
            result = {"kind": "WEIGHT_DIFF", "data": {"dict": numbers, "count": 32}, "meta": {}}
            headers = (*(pair for pair in request.headers if pair[0] != "Content-Type"), ("Content-Type", JSON))
            text = body or msgspec.json.encode({"result": result})
            request = HttpRequest(request.method, request.target, headers, text)
        heads.append(_head(request))
        body = request.body
    return heads, body


def _bytes(request: HttpRequest) -> bytes:
    return _head(request) + request.body


def _head(request: HttpRequest) -> bytes:
    headers = "".join(f"{name}: {value}\r\n" for name, value in request.headers)
    return (
        f"{request.method} {request.target} HTTP/1.1\r\nHost: bench\r\n{headers}"
        f"Content-Length: {len(request.body)}\r\n\r\n"
    ).encode()
