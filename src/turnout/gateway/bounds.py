"""The bounds of a gateway that ``turnout up`` and ``turnout check`` take. Imports nothing: every command needs them."""

GRPC_MESSAGE_BYTES_MAX = 16 * 1024 * 1024
GRPC_CLIENT_BYTES_MAX = 4 * 1024 * 1024  #: What gRPC clients take, FLARE's among them, unless they are told otherwise.
RESULT_BYTES_MAX = 256 * 1024 * 1024  #: Unless a server is told otherwise.
WEIGHTS_MODEL_BYTES_MAX = 32 * 1024 * 1024  #: As well.
#: The largest that a result may be allowed to be: a frame of 512 MiB holds it, and what comes with it.
RESULT_BYTES_MOST = 511 * 1024 * 1024 - 64
#: And a model that is sent as JSON: a worker's answer, of 4 GiB at most, holds its text.
WEIGHTS_MODEL_BYTES_MOST = 512 * 1024 * 1024
