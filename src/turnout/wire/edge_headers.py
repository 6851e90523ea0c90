"""Who asks: the three ``X-Flare-*`` headers <-> DeviceInfo and UserInfo.

What a device says about itself comes in all the forms that existing clients send: a query string, percent-encoded
(Python) or not (Android), a JSON object (iOS), nothing at all, and the text ``None`` for a value that is not there.
Only the id header names the device; an id elsewhere is at most compared with it. FLARE's simulator speaks for a whole
fleet in one selection request, under the id ``prefix?N``; each of its devices then asks as ``prefix#i``.
"""

import functools
import re
from itertools import islice
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec

from turnout.errors import DeviceError
from turnout.messages import NOBODY, DeviceInfo, FleetRange, UserInfo

DEVICE_ID = "X-Flare-Device-ID"
DEVICE_INFO = "X-Flare-Device-Info"
USER_INFO = "X-Flare-User-Info"

DEVICE_ID_CHARS_MAX = 128
#: How the ids begin that Android's SDK makes. An app may give it another info text, but no other id.
ANDROID_ID_PREFIX = "NVFlare_Android-"
ANDROID, IOS = "android", "ios"
PHONES = (ANDROID, IOS)  #: The platforms that FLARE has a mobile SDK for.
INFO_FIELDS_MAX = 64  #: Fields in one info header; existing clients send at most six.
FLEET_DEVICES_MAX = 1_000_000  #: Devices that one selection request may speak for.
TEXTS_KEPT_MAX = 1024  #: Texts of one kind, such as info headers, that are remembered: many devices share them.
TEXT_KEPT_BYTES_MAX = 1024  #: The longest of these headers; existing clients send about two hundred bytes.

_DEVICE_ID = re.compile(rb"[A-Za-z0-9._:@~+=/#-]{1,%d}" % DEVICE_ID_CHARS_MAX)
_FLEET_ID = re.compile(rb"(?=.*\?)[A-Za-z0-9._:@~+=/#?-]{1,%d}" % DEVICE_ID_CHARS_MAX)
_NULL = "None"  #: What FLARE's Python client sends for a field that is null.
_JSON_OBJECT: msgspec.json.Decoder[dict[str, object]] = msgspec.json.Decoder(dict[str, object])
_FLEET_MARK = "?"
_FLEET_DEVICES = re.compile(r"[0-9]{1,7}")  # no more digits than FLEET_DEVICES_MAX has

T = TypeVar("T")
Known = tuple[str, str, str, str, dict[str, str]]  #: The fields of a DeviceInfo after its id.


class BadHeader(DeviceError):
    """A header that says who asks is missing or malformed."""

    reason = "bad_header"


class DeviceReader:
    """Reads the headers, and remembers what the texts that come again and again mean."""

    def __init__(self) -> None:
        self._infos: dict[bytes, tuple[Known, str | None]] = {}
        self._users: dict[bytes, UserInfo] = {}

    def device(self, device_id: bytes | None, info: bytes | None, *, fleets: bool = False) -> DeviceInfo:
        """The device that asks; with ``fleets`` it may be ``prefix?N``. Raises BadHeader."""
        if device_id is None or not _DEVICE_ID.fullmatch(device_id):
            device_id = _trimmed(device_id, fleets)
        name = device_id.decode("ascii")
        if not info:
            return DeviceInfo(name, platform=_platform(name))
        known = self._infos.get(info)
        if known is None:
            known = _info(info)
            _keep(self._infos, info, known)
        fields, also_named = known
        if also_named is not None and also_named != name:
            raise BadHeader(
                f"Device ID mismatch: {DEVICE_INFO} names another device_id than {DEVICE_ID}; "
                "leave it out there, or send the same once"
            )
        if not fields[2]:
            fields = (*fields[:2], _platform(name), *fields[3:])
        return DeviceInfo(name, *fields)

    def user(self, text: bytes | None) -> UserInfo:
        """Who uses the device. Raises BadHeader."""
        if not text:
            return NOBODY
        user = self._users.get(text)
        if user is None:
            user = _user(text)
            _keep(self._users, text, user)
        return user


def _keep(kept: dict[bytes, T], text: bytes, meaning: T) -> None:
    if len(text) > TEXT_KEPT_BYTES_MAX:
        return
    if len(kept) >= TEXTS_KEPT_MAX:
        kept.clear()
    kept[text] = meaning


def fleet_of(device_id: str) -> FleetRange | None:
    """The fleet that ``prefix?N`` speaks for, None when the id is one device's. Raises BadHeader."""
    if _FLEET_MARK not in device_id:
        return None
    prefix, *rest = device_id.split(_FLEET_MARK)
    if prefix and len(rest) == 1 and _FLEET_DEVICES.fullmatch(rest[0]):
        devices = int(rest[0])
        if 1 <= devices <= FLEET_DEVICES_MAX:
            return FleetRange(prefix, devices)
    raise BadHeader(
        f"{DEVICE_ID}: an id with ? speaks for a fleet, as prefix?N with N from 1 to {FLEET_DEVICES_MAX}; "
        "send it so, or one device's id"
    )


def device_headers(device: DeviceInfo, user: UserInfo = NOBODY) -> tuple[tuple[str, str], ...]:
    """The headers of a request, as FLARE's Python client sends them."""
    headers = [(DEVICE_ID, device.device_id)]
    about = _about(device.app_name, device.app_version, device.platform, device.platform_version)
    if device.extra:
        about = "&".join(filter(None, (about, urlencode({key: value for key, value in device.extra.items() if value}))))
    if about:
        headers.append((DEVICE_INFO, about))
    if user is not NOBODY:
        who = {
            "user_id": user.user_id,
            "user_name": user.user_name,
            "access_token": user.access_token,
            "auth_token": user.auth_token,
            "auth_session": user.auth_session,
            **user.extra,
        }
        if text := urlencode({key: value for key, value in who.items() if value}):
            headers.append((USER_INFO, text))
    return tuple(headers)


@functools.lru_cache(maxsize=TEXTS_KEPT_MAX)
def _about(app_name: str, app_version: str, platform: str, platform_version: str) -> str:
    """The text of an info header; devices of one app version share it."""
    fields = {
        "app_name": app_name,
        "app_version": app_version,
        "platform": platform,
        "platform_version": platform_version,
    }
    return urlencode({key: value for key, value in fields.items() if value})


def phone(platform: str) -> str:
    """Which of FLARE's mobile SDKs a device of this platform runs; "" for any other device."""
    name = platform.lower()
    return name if name in PHONES else ""


def _platform(device_id: str) -> str:
    """What a device is that does not say it: Android must be known, for it sleeps in milliseconds."""
    return ANDROID if device_id.startswith(ANDROID_ID_PREFIX) else ""


def _trimmed(device_id: bytes | None, fleets: bool) -> bytes:
    """The id without the spaces that the parser leaves around it."""
    trimmed = None if device_id is None else device_id.strip()
    if trimmed is None or not (_DEVICE_ID.fullmatch(trimmed) or (fleets and _FLEET_ID.fullmatch(trimmed))):
        raise _bad_device_id(trimmed)
    return trimmed


def _bad_device_id(device_id: bytes | None) -> BadHeader:
    if not device_id:
        return BadHeader(f"Device ID missing: send the device's own id in the header {DEVICE_ID}")
    if _FLEET_ID.fullmatch(device_id):
        return BadHeader(
            f"{DEVICE_ID}: an id with ? speaks for a whole fleet, which only /selection takes; send one device's id"
        )
    return BadHeader(
        f"{DEVICE_ID} must be 1 to {DEVICE_ID_CHARS_MAX} letters, digits or any of . _ : @ ~ + = / # -; "
        f"it has {len(device_id)} characters"
    )


def _info(text: bytes) -> tuple[Known, str | None]:
    fields = _fields(text, DEVICE_INFO)
    also_named = fields.pop("device_id", None)
    if text.lstrip().startswith(b"{"):
        also_named = None  # iOS: the app's own idea of an id, which FLARE never reads there
    known = (
        fields.pop("app_name", ""),
        fields.pop("app_version", ""),
        fields.pop("platform", ""),
        fields.pop("platform_version", ""),
        fields,
    )
    return known, also_named


def _user(text: bytes) -> UserInfo:
    fields = _fields(text, USER_INFO)
    return UserInfo(
        fields.pop("user_id", ""),
        fields.pop("user_name", ""),
        fields.pop("access_token", ""),
        fields.pop("auth_token", ""),
        fields.pop("auth_session", ""),
        fields,
    )


def _fields(raw: bytes, header: str) -> dict[str, str]:
    try:
        text = raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        text = raw.decode("latin-1").strip()
    if text.startswith("{"):
        return _json_fields(text)
    try:
        pairs = parse_qsl(text, max_num_fields=INFO_FIELDS_MAX)
    except ValueError:
        raise BadHeader(f"{header} has more than {INFO_FIELDS_MAX} fields; send fewer") from None
    fields: dict[str, str] = {}
    for key, value in pairs:
        if key == "device_id" and key in fields:
            raise BadHeader(f"Device ID mismatch: {header} names device_id twice; send it once or not at all")
        if value != _NULL:
            fields.setdefault(key, value)
    return fields


def _json_fields(text: str) -> dict[str, str]:
    """The text and number fields of a JSON object. FLARE ignores this form: too many are not refused."""
    try:
        found = _JSON_OBJECT.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}
    said = ((key, str(value)) for key, value in found.items() if isinstance(value, str | float | int))
    return dict(islice(said, INFO_FIELDS_MAX))
