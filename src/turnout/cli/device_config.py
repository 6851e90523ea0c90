"""What the device SDKs of FLARE make of a job's device config: what one would ignore, refuse or misread. Pure.

The three parse a config by different rules: Python resolves references between components, the mobile ones do not;
iOS takes executors and filters as lists of objects, the others take names. Each is judged by what it is really sent
(``job/folder/device_configs.py``). Nothing here stops a job, for its devices may be none of these.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from turnout.job.core.answers import TASK_NAME
from turnout.job.folder import device_configs
from turnout.job.folder.device_configs import ANDROID_TRAINER, COMPONENTS, TOTAL_EPOCHS, TRAINER
from turnout.job.folder.device_configs import IOS_TRAINER as DL_TRAINER
from turnout.job.folder.folder import DEVICE_CONFIG, DEVICE_CONFIG_OF, JOB_TOML, JobFolder
from turnout.wire import edge_headers

PYTHON, ANDROID, IOS, NO_SDK = "Python", "Android", "iOS", "no SDK"
SDK_OF = {edge_headers.ANDROID: ANDROID, edge_headers.IOS: IOS}  #: By platform.
IGNORES, REFUSES, MISREADS = "ignores", "refuses", "misreads"

EXECUTORS = "executors"
LISTS = ("in_filters", "out_filters", "handlers")
READ = {COMPONENTS, EXECUTORS, *LISTS}
ANY_TASK = "*"
#: Types that a mobile SDK knows by itself; an app can register more.
BUILT_IN = {
    ANDROID: {
        DL_TRAINER,
        ANDROID_TRAINER,
        "Filter.NoOpFilter",
        "EventHandler.NoOpEventHandler",
        "Batch.SimpleBatch",
    },
    IOS: {DL_TRAINER, "ETTrainer"},
}
#: Arguments of ``Trainer.DLTrainer`` that Android's SDK does not hand to its training, and what it does instead.
UNUSED_ON_ANDROID = {
    "epoch": f"it trains one epoch; give total_epochs in meta in args of an {ANDROID_TRAINER}",
    "batch_size": f"give batch_size in meta in args of an {ANDROID_TRAINER}",
    "shuffle": "nothing in it reads this",
    "method": 'a job whose name contains "cnn" or "cifar" trains cnn, any other xor; or give method in meta in args of '
    f"an {ANDROID_TRAINER}",
}
#: Settings of its executor, and what it uses where they are no numbers.
NUMBERS_ON_ANDROID = {"learning_rate": "0.1", TOTAL_EPOCHS: "1", "batch_size": "1, or 4 for cnn,"}
CNN_NAMES = ("cnn", "cifar")  #: In the name of a job, they make Android train a cnn.
XOR_BATCH_MAX = 4
ENDLESS = "it then asks for the task again and again, without a pause"
NO_EPOCH = (
    "its executor hands them on as num_epochs, and its trainer reads total_epochs: it trains none and sends zeros; "
    "correct ETTrainerExecutor.swift in your app, or set refuse_zeros under [training] or platforms under [eligibility]"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in the file that one SDK does not take as it is meant."""

    sdk: str
    does: str  #: IGNORES, REFUSES or MISREADS
    what: str
    why: str
    file: str = DEVICE_CONFIG

    def __str__(self) -> str:
        return f"{self.file}: {self.sdk} {self.does} {self.what}: {self.why}"


def findings_of(job: JobFolder) -> list[Finding]:
    """All that an SDK would not take as it is meant, of the platforms that the job admits."""
    admitted = {platform.casefold() for platform in job.spec.eligibility.platforms} or SDK_OF.keys()
    sdks = {sdk for platform, sdk in SDK_OF.items() if platform in admitted}
    mobile = job.spec.wire.form == "executorch"
    found = list(_of_files(job, mobile))
    if mobile:
        found += _of_settings(job)
    return [each for each in dict.fromkeys(found) if each.sdk in (PYTHON, NO_SDK, *sdks)]


def _of_files(job: JobFolder, mobile: bool) -> Iterator[Finding]:
    """What is in the files, each SDK by that which it is sent."""
    sent: dict[str, Any] = {platform: job.device_configs[platform] for platform in job.own_configs}
    if mobile:
        sent = device_configs.by_platform(job.device_config, sent, {})
    if job.device_config is not None:
        elsewhere = {SDK_OF[platform] for platform in sent}
        yield from (each for each in findings(job.device_config) if each.sdk not in elsewhere)
    for platform, config in sent.items():
        file = DEVICE_CONFIG_OF[platform] if platform in job.own_configs else DEVICE_CONFIG
        yield from (each for each in findings(config, file) if each.sdk in (SDK_OF[platform], NO_SDK))


def _of_settings(job: JobFolder) -> Iterator[Finding]:
    """What is under ``[device]`` of a job for mobile SDKs, which goes before the arguments of a trainer."""
    device, own = job.spec.device, job.own_configs
    if edge_headers.ANDROID in own and device:
        yield Finding(ANDROID, IGNORES, "[device]", f"it is sent {DEVICE_CONFIG_OF['android']} as it is", JOB_TOML)
    if edge_headers.IOS not in own:
        yield from _numbers_on_ios(device, ("learning_rate", TOTAL_EPOCHS, "epochs", "batch_size"))
    elif "learning_rate" in device:
        why = f"it is sent {DEVICE_CONFIG_OF['ios']} as it is: give lr there"
        yield Finding(IOS, IGNORES, "learning_rate under [device]", why, JOB_TOML)
    yield from method_findings(job.spec.name, _settings_on_android(job.device_configs[edge_headers.ANDROID]))
    if not job.spec.training.refuse_zeros:  # who refuses zeros knows
        yield Finding(IOS, IGNORES, "the epochs that it is told", NO_EPOCH, JOB_TOML)


def _numbers_on_ios(device: Mapping[str, Any], keys: Iterable[str]) -> Iterator[Finding]:
    for key in keys:
        why = _misread_rate(device.get(key)) if key == "learning_rate" else _misread_count(key, device.get(key))
        if why:
            yield Finding(IOS, MISREADS, f"{key} under [device]", why, JOB_TOML)


def _settings_on_android(config: Any) -> Mapping[str, Any]:
    """What its trainer is made with; nothing where there is none that could be read."""
    components = config.get(COMPONENTS) if isinstance(config, dict) else None
    for component in components if isinstance(components, list) else ():
        if isinstance(component, dict) and component.get("type") == ANDROID_TRAINER:
            args = component.get("args")
            meta = args.get("meta") if isinstance(args, dict) else None
            return meta if isinstance(meta, dict) else {}
    return {}


def findings(config: Any, file: str = DEVICE_CONFIG) -> list[Finding]:
    """All that one SDK or another would not take as it is meant, in the order of the file's parts."""
    return [replace(each, file=file) for each in _findings(config)]


def _findings(config: Any) -> list[Finding]:
    if not isinstance(config, dict):
        return list(_no_object(config))
    components = config.get(COMPONENTS)
    if not isinstance(components, list) or not all(isinstance(component, dict) for component in components):
        return [Finding(sdk, REFUSES, "the job", "components must be a list of objects") for sdk in (PYTHON, *BUILT_IN)]
    found = list(_components(components))
    names = {component["name"] for component in components if isinstance(component.get("name"), str)}
    for key in LISTS:
        found += _references(key, config.get(key), names)
    found += _executors(config.get(EXECUTORS), names)
    for key in config:
        if key not in READ:
            meant = "; in_filters and out_filters are read" if key == "filters" else ""
            found.append(Finding(NO_SDK, "reads", key, f"they read {', '.join(sorted(READ))}{meant}"))
    return found


def method_findings(job_name: str, settings: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether Android's method takes batches of this size."""
    method = settings.get("method", "cnn" if any(part in job_name.lower() for part in CNN_NAMES) else "xor")
    batch_size = settings.get("batch_size", 0)
    if method == "xor" and _is_number(batch_size) and batch_size > XOR_BATCH_MAX:
        why = (
            f"its method is xor, which takes a batch_size of {XOR_BATCH_MAX} at most; set method beside it, which says "
            'how examples are shaped: "cnn" is 3 x 32 x 32 numbers, and any other word is one row'
        )
        yield Finding(ANDROID, REFUSES, "every task", why, JOB_TOML)


def _no_object(config: Any) -> Iterator[Finding]:
    for sdk in (PYTHON, IOS) if isinstance(config, str) else (PYTHON, ANDROID, IOS):
        yield Finding(sdk, REFUSES, "the job", "the file must hold an object with components")


# --- components ---------------------------------------------------------------------------------------------------


def _components(components: list[dict[str, Any]]) -> Iterator[Finding]:
    if not components:
        yield Finding(PYTHON, REFUSES, "the job", "components is empty")
    seen: set[str] = set()
    for number, component in enumerate(components):
        name, kind = component.get("name"), component.get("type")
        if not isinstance(name, str) or not isinstance(kind, str):
            for sdk in (PYTHON, ANDROID, IOS):
                yield Finding(sdk, REFUSES, "the job", f"components[{number}] must have name and type, both text")
            continue
        if name in seen:
            for sdk in (PYTHON, ANDROID):
                yield Finding(sdk, REFUSES, "the job", f'two components are named "{name}"')
            yield Finding(IOS, MISREADS, f'component "{name}"', "of two with one name it keeps the last")
        seen.add(name)
        for sdk, known in BUILT_IN.items():
            if kind not in known:
                built_in = ", ".join(sorted(known))
                yield Finding(
                    sdk, REFUSES, "the job", f'type "{kind}" is not built in ({built_in}); the app must add it'
                )
        yield from _arguments(name, kind, component.get("args"))
    yield from _unresolvable(components)


def _arguments(name: str, kind: str, args: Any) -> Iterator[Finding]:
    where = f'args of "{name}"'
    if args is None:
        return
    if not isinstance(args, dict):
        yield Finding(PYTHON, REFUSES, "the job", f"{where} must be an object")
        for sdk in BUILT_IN:
            yield Finding(sdk, IGNORES, where, "it must be an object")
        return
    if any(True for _ in _names_in(args)):
        for sdk in BUILT_IN:
            yield Finding(sdk, MISREADS, where, "it resolves no @name there, and takes it as text")
    if kind == DL_TRAINER:
        yield from _trainer_arguments(where, args)
    elif kind == ANDROID_TRAINER:
        yield from _executor_arguments(f"meta in {where}", args.get("meta"))


def _trainer_arguments(where: str, args: dict[str, Any]) -> Iterator[Finding]:
    for key, instead in UNUSED_ON_ANDROID.items():
        if key in args:
            yield Finding(ANDROID, IGNORES, f"{key} in {where}", instead)
    lr = args.get("lr")
    if lr is not None and not _is_number(lr):
        yield Finding(ANDROID, MISREADS, f"lr in {where}", "not a number, so 0.0001 is used")
    if why := _misread_rate(lr):
        yield Finding(IOS, MISREADS, f"lr in {where}", why)
    for key in ("epoch", "batch_size"):
        if why := _misread_count(key, args.get(key)):
            yield Finding(IOS, MISREADS, f"{key} in {where}", why)


def _executor_arguments(where: str, meta: Any) -> Iterator[Finding]:
    if meta is None:
        return
    if not isinstance(meta, dict):
        yield Finding(ANDROID, IGNORES, where, "it must be an object")
        return
    for key, default in NUMBERS_ON_ANDROID.items():
        if key in meta and not _is_number(meta[key]):
            yield Finding(ANDROID, MISREADS, f"{key} in {where}", f"not a number, so {default} is used")


def _misread_rate(value: Any) -> str:
    """Why iOS does not take this learning rate; empty if it does, or there is none."""
    if value is None or (_is_number(value) and not float(value).is_integer()):
        return ""
    why = "a number without a fraction is an integer there" if _is_number(value) else "not a number"
    return f"{why}, and 0.01 is used"


def _misread_count(key: str, value: Any) -> str:
    """The same of a number of epochs or examples."""
    if value is None or (_is_number(value) and float(value).is_integer()):
        return ""
    return f"not an integer, so {32 if key == 'batch_size' else 1} is used"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unresolvable(components: list[dict[str, Any]]) -> Iterator[Finding]:
    """What Python cannot resolve: names that are not there, and components that wait for each other."""
    waiting = {
        component["name"]: set(_names_in(component.get("args")))
        for component in components
        if isinstance(component.get("name"), str)
    }
    for name, needed in waiting.items():
        for missing in sorted(needed - waiting.keys()):
            yield Finding(PYTHON, REFUSES, "the job", f'args of "{name}" name @{missing}, which is not a component')
        needed &= waiting.keys()
    while ready := [name for name, needed in waiting.items() if not needed & waiting.keys()]:
        for name in ready:
            del waiting[name]
    if waiting:
        yield Finding(PYTHON, REFUSES, "the job", f"components wait for each other: {', '.join(sorted(waiting))}")


def _names_in(value: Any) -> Iterator[str]:
    """The components that a value refers to, at any depth."""
    if isinstance(value, str) and value.startswith("@"):
        yield value[1:]
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _names_in(item)


# --- what refers to components ------------------------------------------------------------------------------------


def _references(key: str, value: Any, names: set[str]) -> Iterator[Finding]:
    """A list of filters or handlers: ``["@name"]``, but for iOS ``[{"type": ..., "args": {...}}]``."""
    if not value:
        return
    if not isinstance(value, list):
        yield Finding(PYTHON, REFUSES, "the job", f"{key} must be a list of @name")
        for sdk in BUILT_IN:
            yield Finding(sdk, IGNORES, key, "it must be a list")
        return
    wrong = next((item for item in value if not _is_reference(item) or item[1:] not in names), None)
    if wrong is not None:
        why = "names no component" if _is_reference(wrong) else "is not of the form @name"
        for sdk in (PYTHON, ANDROID):
            yield Finding(sdk, REFUSES, "the job", f"{key}: {_shown(wrong)} {why}")
    yield from _objects_for_ios(key, value, 'a list of {"type": ..., "args": {...}}')


def _executors(value: Any, names: set[str]) -> Iterator[Finding]:
    """What trains which task: ``{task: "@name"}``, but for iOS ``[{"type", "task_name", "args"}]``."""
    if value and not isinstance(value, dict):
        yield Finding(PYTHON, REFUSES, "the job", f'{EXECUTORS} must be an object: {{"{TASK_NAME}": "@name"}}')
        yield Finding(ANDROID, IGNORES, EXECUTORS, "it must be an object")
        yield from _without_executors(ANDROID, names)
    elif value:
        yield from _named_executors(value, names)
    else:
        yield from _without_executors(PYTHON, names)
        yield from _without_executors(ANDROID, names)
    yield from _executors_of_ios(value, names)


def _named_executors(value: dict[str, Any], names: set[str]) -> Iterator[Finding]:
    for task, item in value.items():
        if not _is_reference(item):
            for sdk in (PYTHON, ANDROID):
                yield Finding(sdk, REFUSES, "the job", f'{EXECUTORS}: "{task}" must be of the form @name')
        elif item[1:] not in names:
            yield Finding(ANDROID, REFUSES, "the job", f'{EXECUTORS}: "{task}" names {item}, which is not a component')
            yield Finding(PYTHON, IGNORES, f'"{task}" in {EXECUTORS}', f"{item} is not a component")
    if TASK_NAME not in value and ANY_TASK not in value:
        for sdk in (PYTHON, ANDROID):
            yield Finding(sdk, REFUSES, "every task", f'{EXECUTORS} has neither "{TASK_NAME}" nor "{ANY_TASK}"')


def _executors_of_ios(value: Any, names: set[str]) -> Iterator[Finding]:
    objects = isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
    yield from _objects_for_ios(EXECUTORS, value, 'a list of {"type": ..., "task_name": ..., "args": {...}}')
    if not objects:
        yield from _without_executors(IOS, names)
    elif not {TASK_NAME, ANY_TASK} & {str(item.get("task_name", ANY_TASK)) for item in value}:
        yield Finding(IOS, REFUSES, "every task", f'no executor is for "{TASK_NAME}"; {ENDLESS}')


def _without_executors(sdk: str, names: set[str]) -> Iterator[Finding]:
    """Then the component named ``trainer`` trains every task."""
    if TRAINER not in names:
        endless = f"; {ENDLESS}" if sdk == IOS else ""
        yield Finding(sdk, REFUSES, "every task", f'without executors it needs a component named "{TRAINER}"{endless}')


def _objects_for_ios(key: str, value: Any, form: str) -> Iterator[Finding]:
    if not value:
        return
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        yield Finding(IOS, IGNORES, key, f"it takes {form}")
        return
    for item in value:
        kind = item.get("type")
        if not isinstance(kind, str):
            yield Finding(IOS, REFUSES, "the job", f"{key}: {_shown(item)} must have a type")
        elif kind not in BUILT_IN[IOS]:
            yield Finding(IOS, REFUSES, "the job", f'{key}: type "{kind}" is not built in; the app must add it')


def _is_reference(item: Any) -> bool:
    return isinstance(item, str) and item.startswith("@")


def _shown(item: Any) -> str:
    return repr(item) if len(repr(item)) <= 60 else f"{repr(item)[:57]}..."
