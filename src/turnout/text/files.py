"""The text files that people write into a job folder: UTF-8, also with the byte order mark of editors on Windows."""

from pathlib import Path

from turnout.errors import JobFolderError


def read_text(folder: Path, name: str) -> str:
    """What is in this file of the folder, without a byte order mark. Raises JobFolderError."""
    try:
        return (folder / name).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise JobFolderError(f"{folder}: {name} is missing") from None
    except UnicodeDecodeError as error:
        raise JobFolderError(f"{name}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise JobFolderError(f"{name}: cannot be read: {error.strerror}") from None
