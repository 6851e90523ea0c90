"""Who asks, in every form that existing clients send."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.flare.quirks import covers
from turnout.messages import DeviceInfo, FleetRange, UserInfo
from turnout.wire import edge_headers
from turnout.wire.edge_headers import BadHeader, DeviceReader, device_headers, fleet_of


def device(device_id: bytes | None, info: bytes | None = None) -> DeviceInfo:
    return DeviceReader().device(device_id, info)


def test_the_id_alone_is_enough() -> None:
    assert device(b"d1") == DeviceInfo("d1")


def test_spaces_around_the_id_do_not_belong_to_it() -> None:
    assert device(b" d1\t") == DeviceInfo("d1")


def test_an_empty_info_header_is_as_none() -> None:
    assert device(b"d1", b"") == DeviceInfo("d1")


def test_pythons_percent_encoded_info_is_read_and_its_none_texts_are_absent() -> None:
    info = b"app_name=my+app%26co&app_version=1.0&platform=None&platform_version=None"
    assert device(b"d1", info) == DeviceInfo("d1", "my app&co", "1.0", "", "")


def test_androids_unencoded_info_with_its_device_id_is_read() -> None:
    info = b"device_id=NVFlare_Android-7&app_name=Demo App&platform=android&platform_version=14"
    assert device(b"NVFlare_Android-7", info) == DeviceInfo("NVFlare_Android-7", "Demo App", "", "android", "14")


def test_ios_json_info_is_read_and_its_own_device_id_is_not_compared() -> None:
    info = b'{"device_id": "another", "platform": "ios", "app_version": 2, "list": [1]}'
    assert device(b"ABCD-12", info) == DeviceInfo("ABCD-12", "", "2", "ios", "")


@pytest.mark.parametrize("info", [b"{", b"{}", b"{not json}", b'{"a": NaN}', b"{" * 5000])
def test_json_info_that_says_nothing_is_accepted_and_ignored(info: bytes) -> None:
    assert device(b"d1", info) == DeviceInfo("d1")


@pytest.mark.parametrize("info", [None, b"", b"app_name=x", b"{}", b"platform=None"])
def test_android_is_known_by_the_id_that_its_sdk_makes(info: bytes | None) -> None:
    assert device(b"NVFlare_Android-7", info).platform == "android"
    assert device(b"d1", info).platform == ""


def test_what_a_device_says_of_its_platform_goes_before_its_id() -> None:
    assert device(b"NVFlare_Android-7", b"platform=chromeos").platform == "chromeos"


def test_other_fields_are_kept_as_extra() -> None:
    assert device(b"d1", b"memory=8&app_name=x").extra == {"memory": "8"}


def test_another_device_id_in_the_info_is_refused() -> None:
    with pytest.raises(BadHeader, match="Device ID mismatch"):
        device(b"d1", b"device_id=d2")


def test_a_device_id_twice_in_the_info_is_refused_as_a_mismatch() -> None:
    with pytest.raises(BadHeader, match="Device ID mismatch"):
        device(b"d1", b"device_id=d1&device_id=d1")


def test_the_comparison_holds_when_the_text_was_seen_before() -> None:
    reader = DeviceReader()
    reader.device(b"d1", b"device_id=d1")
    with pytest.raises(BadHeader, match="mismatch"):
        reader.device(b"d2", b"device_id=d1")


@pytest.mark.parametrize("device_id", [None, b""])
def test_a_missing_id_is_named(device_id: bytes | None) -> None:
    with pytest.raises(BadHeader, match=r"Device ID missing.*X-Flare-Device-ID"):
        device(device_id)


def test_a_device_of_a_simulated_fleet_is_an_ordinary_one() -> None:
    assert device(b"fleet#7") == DeviceInfo("fleet#7")
    assert fleet_of("fleet#7") is None


@covers("id/range-task", "hole-10")
def test_an_id_that_speaks_for_a_fleet_is_refused_where_one_device_must_ask() -> None:
    with pytest.raises(BadHeader, match=r"only /selection takes; send one device's id"):
        device(b"fleet?100")


def test_an_id_that_speaks_for_a_fleet_is_taken_as_it_is_where_fleets_may_ask() -> None:
    assert DeviceReader().device(b" fleet?100", None, fleets=True) == DeviceInfo("fleet?100")


@covers("id/range")
@pytest.mark.parametrize("devices", [1, 1_000_000])
def test_a_fleet_is_a_prefix_and_a_number_of_devices(devices: int) -> None:
    assert fleet_of(f"a-#7?{devices}") == FleetRange("a-#7", devices)


@covers("id/range-bad", "hole-10")
@pytest.mark.parametrize(
    "device_id", ["a?", "a?b", "?5", "a?5?6", "a?0", "a?-1", "a?+1", "a?1.0", "a?1000001", "a?" + "9" * 120]
)
def test_an_id_with_a_question_mark_that_is_no_fleet_is_refused_with_words(device_id: str) -> None:
    DeviceReader().device(device_id.encode(), None, fleets=True)
    with pytest.raises(BadHeader, match=r"prefix\?N with N from 1 to 1000000"):
        fleet_of(device_id)


@pytest.mark.parametrize("device_id", [b"x" * 129, b"a b", b'a"b', b"\xc3\xa4", b"a\tb", b"a\\b"])
def test_ids_that_are_too_long_or_of_odd_characters_are_refused(device_id: bytes) -> None:
    with pytest.raises(BadHeader, match="1 to 128 letters"):
        device(device_id)


def test_an_id_of_128_characters_is_taken() -> None:
    assert device(b"x" * 128).device_id == "x" * 128


def test_too_many_info_fields_are_refused() -> None:
    with pytest.raises(BadHeader, match="more than 64 fields"):
        device(b"d1", b"&".join(b"k%d=v" % i for i in range(65)))


def test_user_info_is_read_and_an_empty_one_is_nobody() -> None:
    reader = DeviceReader()
    assert reader.user(b"user_id=default_user") == UserInfo("default_user")
    assert reader.user(b"{}") == UserInfo()
    assert reader.user(None) == UserInfo()


def test_what_is_remembered_of_texts_is_bounded() -> None:
    reader = DeviceReader()
    for i in range(edge_headers.TEXTS_KEPT_MAX + 1):
        reader.device(b"d1", b"app_name=%d" % i)
    assert len(reader._infos) <= edge_headers.TEXTS_KEPT_MAX


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_header_raises_anything_but_bad_header(device_id: bytes, info: bytes) -> None:
    try:
        assert device(device_id, info).device_id.encode() == device_id.strip()
    except BadHeader:
        pass


words = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20).filter(
    lambda text: text != "None" and text.strip() == text
)


@given(words, words, words, words)
def test_what_a_device_writes_the_gateway_reads(name: str, version: str, platform: str, user: str) -> None:
    told = DeviceInfo("d1", name, version, platform, "", {"memory": "8"})
    headers = dict(device_headers(told, UserInfo(user)))
    reader = DeviceReader()
    assert reader.device(headers[edge_headers.DEVICE_ID].encode(), headers[edge_headers.DEVICE_INFO].encode()) == told
    assert reader.user(headers[edge_headers.USER_INFO].encode()) == UserInfo(user)


def test_of_a_json_info_so_many_fields_are_read() -> None:
    info = json.dumps({f"f{number}": number for number in range(1000)}).encode()
    device = DeviceReader().device(b"d1", info)
    assert list(device.extra) == [f"f{number}" for number in range(edge_headers.INFO_FIELDS_MAX)]


def test_long_texts_are_read_but_not_remembered() -> None:
    reader = DeviceReader()
    for text in (b"note=" + b"x" * 1000, b"note=" + b"x" * 1020):
        assert len(reader.device(b"d1", text).extra["note"]) == len(text) - 5
        assert len(reader.user(text).extra["note"]) == len(text) - 5
    assert (len(reader._infos), len(reader._users)) == (1, 1)
