"""Records that commands leave in JSON files, read back with the types that they must have."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.reading import read_json_object

MAX_RECORD = 64 * 2**20  # bytes
MAX_DEPTH = 64


class Record(BaseModel):
    """A JSON object with typed fields; it may have others too."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


R = TypeVar("R", bound=Record)


def read_record(path: Path, kind: type[R], what: str) -> R:
    """Reads a record.

    Args:
        path: the JSON file.
        kind: the record's class.
        what: what the file must be, for the error.

    Raises:
        UserError: it cannot be read, is too large or too deep, or a field is missing or of another type.
    """
    content = read_json_object(path, max_bytes=MAX_RECORD)
    if _is_deeper(content, MAX_DEPTH):
        raise UserError(f"{path} is not {what}: it is nested too deeply")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise UserError(f"{path} is not {what}: {place}: {first['msg']}") from error


def _is_deeper(content: Any, most: int) -> bool:
    level = [content]
    for _ in range(most):
        level = [value for one in level for value in (one.values() if isinstance(one, dict) else one)]
        level = [value for value in level if isinstance(value, dict | list)]
        if not level:
            return False
    return True
