"""The messages of FLARE's gRPC service as the protobuf library has them, made from their description at run time."""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TEXT = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_BYTES = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="edge.proto", package="edgeapi", syntax="proto3")
    messages = {
        "Request": {"type": _TEXT, "method": _TEXT, "header": _BYTES, "payload": _BYTES},
        "Reply": {"status": _TEXT, "payload": _BYTES},
        "Later": {"extra": _TEXT},
    }
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            message.field.add(name=field, number=number, type=kind)
    later = file.message_type[2].field
    later.add(name="number", number=100, type=descriptor_pb2.FieldDescriptorProto.TYPE_INT64)
    later.add(name="real", number=101, type=descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE)
    later.add(name="small", number=102, type=descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT)
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_file())  # type: ignore[no-untyped-call]

Request = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("edgeapi.Request"))
Reply = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("edgeapi.Reply"))
Later = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("edgeapi.Later"))
