"""Sends the results again whose answers were under way when the fleet was ended, as their devices would have."""

import http.client
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from tests.chaos.job import TASK_NAME, TENSOR
from tests.chaos.ledger import Task
from tests.end_to_end.server import eventually
from turnout.device.exchange import from_http, to_http
from turnout.fleet.ledger import Ledger
from turnout.messages import DeviceInfo, ModelSchema, ResultReport, ResultResponse, Status, TensorSpec
from turnout.wire.edge_replies import HttpReply

TIMEOUT_S = 10.0


def settle(url: str, job_id: str, devices: int, tasks: Iterable[Task], ledger: Path) -> int:
    """Returns how many these were; each answer is noted in the ledger."""
    book = Ledger(ledger)
    count = 0
    for task in tasks:
        eventually(f"the result of {task.device_id} is answered", _Sender(url, job_id, devices, task, book).is_settled)
        count += 1
    book.close()
    return count


class _Sender:
    """One result, sent until it has an answer."""

    def __init__(self, url: str, job_id: str, devices: int, task: Task, ledger: Ledger) -> None:
        update = np.zeros(devices, np.float32)
        update[task.device] = 1
        self._address = urlsplit(url).netloc
        self._index = task.device
        self._ledger = ledger
        self._report = ResultReport(DeviceInfo(task.device_id), job_id, task.task_id, TASK_NAME, update.view("u1").data)
        self._request = to_http(self._report, ModelSchema((TensorSpec(TENSOR, (devices,)),)))

    def is_settled(self) -> bool:
        """Send it; whether that was answered for good."""
        self._ledger.sends(self._index, self._report)
        with closing(http.client.HTTPConnection(self._address, timeout=TIMEOUT_S)) as connection:
            try:
                connection.request(
                    self._request.method, self._request.target, self._request.body, dict(self._request.headers)
                )
                response = connection.getresponse()
                reply = HttpReply(response.status, {}, response.read())
            except (OSError, http.client.HTTPException):
                return False
        answer = from_http(self._report, reply)
        if not isinstance(answer, ResultResponse):
            return False
        self._ledger.add(self._index, self._report, answer)
        return answer.counted or answer.status is not Status.RETRY
