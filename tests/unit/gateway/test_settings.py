"""What operators set reaches the limits of a gateway, and what they leave out is the default."""

import msgspec

from turnout.dispatcher.pending import DispatcherLimits
from turnout.gateway.limits import GatewayLimits, GrpcLimits
from turnout.gateway.process import dispatcher_limits, gateway_limits
from turnout.gateway.settings import Limits
from turnout.supervisor.policy import HANG_S, Kind, policies


def test_unless_something_is_set_the_limits_are_the_defaults() -> None:
    assert gateway_limits(Limits()) == GatewayLimits()
    assert dispatcher_limits(Limits()) == DispatcherLimits()
    assert Limits().grpc_message_bytes_max == GrpcLimits().message_bytes_max
    assert Limits().hang_s == HANG_S
    assert policies(Limits().hang_s, Limits().retire_s) == policies()


def test_a_gateway_that_is_replaced_has_time_for_the_longest_upload_and_is_killed_only_later() -> None:
    limits = Limits(body_time_max_s=600.0)
    assert gateway_limits(limits).drain_timeout_s == 620.0
    assert policies(retire_s=limits.retire_s)[Kind.GATEWAY].retire_s == 640.0


def test_every_limit_reaches_something() -> None:
    before = (gateway_limits(Limits()), dispatcher_limits(Limits()))
    elsewhere = {"grpc_message_bytes_max", "hang_s"}
    for field in msgspec.structs.fields(Limits):
        value = getattr(Limits(), field.name)
        changed = msgspec.structs.replace(Limits(), **{field.name: value * 2})
        after = (gateway_limits(changed), dispatcher_limits(changed))
        assert (after != before) == (field.name not in elsewhere), field.name
