"""A tracking store's errors: which will not go away by waiting, and each in a line."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

import sqlalchemy.exc

from harness.ledger.client import MlflowException

# A value or a statement that the database refuses: the same one is refused again.
REFUSED = (
    sqlalchemy.exc.IntegrityError, sqlalchemy.exc.DataError, sqlalchemy.exc.ProgrammingError,
    sqlalchemy.exc.NotSupportedError, sqlite3.IntegrityError, sqlite3.DataError,
    sqlite3.ProgrammingError, sqlite3.NotSupportedError,
)  # fmt: skip

# What MLflow says of a request that is wrong, or may not be made, whenever it is made.
CODES = {
    "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_STATE",
    "PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "NOT_IMPLEMENTED",
}  # fmt: skip

# A changed schema or a damaged file: SQLite and MySQL report these as they report an outage, and
# over HTTP a server passes on nothing but the text.
WORDS = re.compile(
    r"no such (table|column)|has no column named|unknown column"
    r"|(relation|column) \S+ (of relation \S+ )?does not exist|table \S+ doesn't exist"
    r"|constraint failed|violates \S+.* constraint|database disk image is malformed"
    r"|file is not a database"
    r"|\((?:\w+\.)*(IntegrityError|DataError|ProgrammingError|NotSupportedError)\)",
    re.IGNORECASE,
)


def permanent(error: BaseException) -> bool:
    """Whether a store that has met us with this error will do so again, however long we wait.

    All else, a store that is away, locked or full above all, is taken for an outage.
    """
    chain = list(_chain(error))
    if any(
        isinstance(one, sqlalchemy.exc.DBAPIError) and one.connection_invalidated for one in chain
    ):
        return False  # the connection broke, whatever the statement was told
    for one in chain:
        if isinstance(one, REFUSED):
            return True
        if type(one) is sqlalchemy.exc.StatementError:  # a value that the driver cannot take
            return True
        if isinstance(one, MlflowException) and one.error_code in CODES:
            return True
        known = isinstance(one, MlflowException | sqlalchemy.exc.SQLAlchemyError | sqlite3.Error)
        if known and WORDS.search(str(one)):
            return True
    return False


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from, from the outermost to the first."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__


def one_line(error: BaseException) -> str:
    """An error's first line, or its kind where it says nothing.

    MLflow repeats address and retries of a server that cannot be reached, over half a page.
    """
    if isinstance(error, MlflowException) and isinstance(error.__context__, OSError):
        return f"no answer ({type(error.__context__).__name__})"
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
