"""The DynamoDB table of a serving cache."""

from __future__ import annotations

import contextlib
from typing import Any

from botocore.exceptions import ClientError


def make_table(client: Any, name: str) -> None:
    """Make the table where it is missing, and wait for it."""
    try:
        client.describe_table(TableName=name)
        return
    except ClientError as error:
        if error_code(error) != "ResourceNotFoundException":
            raise
    keys = {"pk": "HASH", "sk": "RANGE"}
    # ResourceInUse: another process makes it at this moment.
    with contextlib.suppress(client.exceptions.ResourceInUseException):
        client.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": n, "KeyType": kind} for n, kind in keys.items()],
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in keys],
            BillingMode="PAY_PER_REQUEST",
        )
    client.get_waiter("table_exists").wait(TableName=name)


def error_code(error: ClientError) -> str:
    """The service's own name of an error."""
    return str(error.response.get("Error", {}).get("Code", ""))
