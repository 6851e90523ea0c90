"""The gateway in HTTP/1.1: bytes of a connection to calls, and their answers to bytes."""
