"""What a job says about training, and what FLARE's mobile SDKs then train with."""

from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.contract.flare.jobs import android, folder, ios, python_device, strided_tensors_of_one, tensors_of_one
from tests.contract.flare.players.android import TrainingConfig as OnAndroid
from tests.contract.flare.players.ios import TrainingConfig as OnIos
from tests.contract.flare.quirks import covers
from tests.contract.flare.test_devices import Enough, until
from tests.end_to_end.site import site

pytestmark = pytest.mark.anyio

DL_TRAINER = {"components": [{"type": "Trainer.DLTrainer", "name": "trainer", "args": {"lr": 0.05, "epoch": 2}}]}
META = {"total_epochs": 3, "batch_size": 4, "learning_rate": 0.02, "method": "mlp"}
EXECUTOR = {"components": [{"type": "Executor.ETTrainerExecutor", "name": "trainer", "args": {"meta": META}}]}
FOR_IOS = {
    "components": [
        {
            "type": "Trainer.DLTrainer",
            "name": "trainer",
            "args": {"lr": 0.25, "epoch": 5, "total_epochs": 5, "batch_size": 8},
        }
    ]
}
Tell = Callable[[dict[str, Any]], None]
DEVICE = "[device]\nepochs = 5\nbatch_size = 8\nlearning_rate = 0.25\n"


def job(path: Path, config: Any = None, device: str = "", **own: Any) -> Path:
    """A job of one version; ``own`` are configs for one platform each."""
    made = folder(path / "job", "executorch", versions=1, config=config, more=device)
    for platform, value in own.items():
        (made / f"device_config.{platform}.json").write_bytes(msgspec.json.encode(value))
    return made


@covers("data/task-meta", "config/epoch", "config/types")
@pytest.mark.parametrize("has_gson_2_10", [True, False])
@pytest.mark.parametrize(
    ("config", "device", "expected"),
    [
        (None, "", OnAndroid(1, 4, 0.1, "cnn")),
        (None, DEVICE, OnAndroid(5, 8, 0.25, "cnn")),
        (DL_TRAINER, "", OnAndroid(2, 4, 0.05, "cnn")),
        (DL_TRAINER, DEVICE, OnAndroid(5, 8, 0.25, "cnn")),
        (EXECUTOR, "", OnAndroid(3, 4, 0.02, "mlp")),
        (EXECUTOR, DEVICE, OnAndroid(5, 8, 0.25, "mlp")),
    ],
)
async def test_android_trains_with_what_the_job_says_whatever_its_gson(
    tmp_path: Path, config: Any, device: str, expected: OnAndroid, has_gson_2_10: bool
) -> None:
    async with site(job(tmp_path, config, device)) as served:
        phone = android(served.url, has_gson_2_10=has_gson_2_10)
        await phone.run()
    assert phone.trained_with == [expected]


@covers("data/task-meta", "config/types", "data/ios-integers")
@pytest.mark.parametrize(
    ("config", "device", "expected"),
    [
        (None, "", OnIos(1, 32, 0.01, 1)),
        (None, DEVICE, OnIos(5, 8, 0.25, 5)),
        (DL_TRAINER, "", OnIos(2, 32, 0.05, 2)),
        (DL_TRAINER, DEVICE, OnIos(5, 8, 0.25, 5)),
        (EXECUTOR, "", OnIos(3, 4, 0.02, 3)),
        (EXECUTOR, DEVICE, OnIos(5, 8, 0.25, 5)),
    ],
)
async def test_ios_trains_with_what_the_job_says(tmp_path: Path, config: Any, device: str, expected: OnIos) -> None:
    async with site(job(tmp_path, config, device)) as served:
        phone = ios(served.url)
        await phone.run()
    assert phone.trained_with == [expected]


@covers("config/delivered")
async def test_a_platforms_own_config_is_sent_as_it_is_and_to_nobody_else(tmp_path: Path) -> None:
    made = job(tmp_path, DL_TRAINER, DEVICE, android=EXECUTOR)
    async with site(made) as served:
        for phone, told in ((android(served.url), EXECUTOR), (ios(served.url), FOR_IOS)):
            await phone.fetch_job()
            assert phone.line.answers[0].json["job_data"] == {"config": told}
            phone.line.hang_up()
        other = python_device(served.url)
        told = await other.post("job", {}, {"job_name": "cnn", "capabilities": {"methods": ["edge"]}})
    assert told["job_data"] == {"config": DL_TRAINER}


@covers("data/task-meta")
async def test_settings_come_beside_a_model_only_where_they_can_be_read(tmp_path: Path) -> None:
    async def told(name: str, player: Any) -> dict[str, Any]:
        """The meta of a task, without what is there for all."""
        tmp_path.joinpath(name).mkdir()
        metas = []
        async with site(job(tmp_path / name, None, DEVICE)) as served:
            await player(served.url, metas.append).run()
        return {key: value for key, value in metas[0].items() if not key.startswith("model_")}

    assert await told("android", android_tells) == {}
    assert await told("ios", ios_tells) == {"epochs": 5, "batch_size": 8}
    assert await told("python", python_tells) == {"epochs": 5, "batch_size": 8, "learning_rate": 0.25}


def android_tells(url: str, tell: Tell) -> Any:
    return android(url, train=lambda pte, meta: tell(dict(meta)) or tensors_of_one(pte, meta))


def ios_tells(url: str, tell: Tell) -> Any:
    return ios(url, train=lambda pte, meta: tell(dict(meta)) or strided_tensors_of_one(pte, meta))


def python_tells(url: str, tell: Tell) -> Any:
    def train(task_data: Any) -> dict[str, Any]:
        tell(task_data["meta"])
        return {"kind": "any", "data": tensors_of_one(b64decode(task_data["data"]), task_data["meta"]), "meta": {}}

    return python_device(url, train=train)


@covers("data/zeros")
async def test_ios_as_it_is_trains_no_epoch_and_sends_zeros(tmp_path: Path) -> None:
    async with site(job(tmp_path, None, DEVICE)) as served:
        phone = ios(served.url, mended=False)
        await phone.run()
        assert not served.job.core.model.any()
        (group,) = served.job.core.groups.shown()
    assert phone.trained_with == [OnIos(5, 8, 0.25, trained_epochs=0)]
    assert (group.platform, group.counted, group.zeros) == ("ios", 1, 1)


@covers("data/zeros")
async def test_a_job_can_refuse_zeros_and_the_iphone_goes_on(tmp_path: Path) -> None:
    made = job(tmp_path, None, DEVICE)
    text = (made / "job.toml").read_text()
    (made / "job.toml").write_text(text.replace("[training]\n", "[training]\nrefuse_zeros = true\n"))
    async with site(made) as served:
        phone = ios(served.url, until(lambda: phone.results), mended=False)
        with pytest.raises(Enough):
            await phone.run()
        (group,) = served.job.core.groups.shown()
    assert [(answer["status"], answer["counted"]) for answer in phone.results] == [("NO_TASK", False)]
    assert "nothing had been trained" in phone.results[0]["message"]
    assert (group.platform, group.counted, group.refused, group.zeros) == ("ios", 0, 1, 1)
