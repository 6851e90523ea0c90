"""The device config of each platform: what a person wrote, where FLARE's SDK of that platform reads it. Pure.

The SDKs for Android and iOS train with one and the same trainer, which each takes under a type and by words of its own:

    Android   {"type": "Executor.ETTrainerExecutor", "args": {"meta": {"total_epochs", "batch_size", "learning_rate"}}}
    iOS       {"type": "Trainer.DLTrainer", "args": {"epoch", "batch_size", "lr", "shuffle"}}

Of a ``Trainer.DLTrainer`` Android takes ``lr`` alone, and iOS refuses a job with the other. So no single file serves
both. The settings of ``[device]`` go in here because what comes with each task cannot be read by Android, and spoils
the learning rate on iOS (``wire/edge_replies.py``).
"""

from collections.abc import Callable, Mapping
from typing import Any

from turnout.wire.edge_headers import ANDROID, IOS

COMPONENTS, TRAINER = "components", "trainer"
ANDROID_TRAINER, IOS_TRAINER = "Executor.ETTrainerExecutor", "Trainer.DLTrainer"
#: Both SDKs' own trainer, by all of its types.
TRAINERS = (ANDROID_TRAINER, IOS_TRAINER, "ETTrainer")
#: The words of IOS_TRAINER that Android's SDK, and the trainers of others, call otherwise.
SETTING_OF = {"epoch": "total_epochs", "lr": "learning_rate", "shuffle": "dataset_shuffle"}
ARGUMENT_OF = {setting: argument for argument, setting in SETTING_OF.items()}
EPOCHS, TOTAL_EPOCHS = "epochs", "total_epochs"  #: What turnout's own trainers call it, and what the SDKs do.
#: What is sent where there is no file.
PLAIN = {COMPONENTS: [{"type": IOS_TRAINER, "name": TRAINER}]}

Settings = dict[str, Any]


def by_platform(general: Any, own: Mapping[str, Any], device: Mapping[str, Any]) -> dict[str, Any]:
    """The config of each platform of FLARE's mobile SDKs, for a job that they can train.

    ``own`` is what a person wrote for one platform, which is sent as it is. Elsewhere the trainer of ``general``, or a
    plain one, is put into the platform's own form, with ``device`` over its arguments.
    """
    given = PLAIN if general is None else general
    return {platform: own.get(platform, _fitted(given, device, fit)) for platform, fit in _FITS.items()}


def _fitted(config: Any, device: Mapping[str, Any], fit: Callable[[Settings], Any]) -> Any:
    """What no SDK can read as a config stays as it is."""
    components = config.get(COMPONENTS) if isinstance(config, dict) else None
    if not isinstance(components, list):
        return config
    return {**config, COMPONENTS: [_component(component, device, fit) for component in components]}


def _component(component: Any, device: Mapping[str, Any], fit: Callable[[Settings], Any]) -> Any:
    if not isinstance(component, dict) or component.get("type") not in TRAINERS:
        return component
    return {**component, **fit({**_settings(component), **_named(device)})}


def _settings(component: Mapping[str, Any]) -> Settings:
    """The arguments of a trainer of any type, by the words of ``[device]``."""
    args: Any = component.get("args")
    if component["type"] == ANDROID_TRAINER:
        args = args.get("meta") if isinstance(args, dict) else None
    return _named(_renamed(args, SETTING_OF)) if isinstance(args, dict) else {}


def _named(settings: Mapping[str, Any]) -> Settings:
    """With the epochs by the name that the SDKs read."""
    named = dict(settings)
    if EPOCHS in named:
        named.setdefault(TOTAL_EPOCHS, named.pop(EPOCHS))
    return named


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> Settings:
    return {names.get(key, key): value for key, value in values.items()}


def _for_android(settings: Settings) -> dict[str, Any]:
    return {"type": ANDROID_TRAINER, "args": {"meta": settings}}


def _for_ios(settings: Settings) -> dict[str, Any]:
    """With ``total_epochs`` under its own name as well: it is what the trainer behind the SDK's executor reads."""
    args = _renamed(settings, ARGUMENT_OF)
    if TOTAL_EPOCHS in settings:
        args[TOTAL_EPOCHS] = settings[TOTAL_EPOCHS]
    return {"type": IOS_TRAINER, "args": args}


_FITS: dict[str, Callable[[Settings], Any]] = {ANDROID: _for_android, IOS: _for_ios}
