"""Alerts through Apprise: addresses only from the environment, the log where there are none."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass

import apprise

URLS_VARIABLE = "ML_PLATFORM_ALERT_URLS"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Alert:
    """What somebody should know."""

    title: str
    body: str


def send(alert: Alert, environment: Mapping[str, str] | None = None) -> list[str]:
    """Send an alert to each address; one that fails does not stop the others.

    Args:
        alert: What to say.
        environment: Where the addresses are read, separated by white space.

    Returns:
        What happened, in sentences without the addresses: they may hold secrets.
    """
    addresses = (os.environ if environment is None else environment).get(URLS_VARIABLE, "").split()
    _log.warning("%s: %s", alert.title, alert.body)
    if not addresses:
        return [f"alert logged (no {URLS_VARIABLE} is set): {alert.title}"]
    outcomes = []
    for position, address in enumerate(addresses, 1):
        service = apprise.Apprise()
        known = service.add(address)
        sent = bool(known and service.notify(title=alert.title, body=alert.body))
        state = "sent" if sent else "FAILED: " + ("no answer" if known else "unknown kind of address")
        outcomes.append(f"alert to address {position} of {len(addresses)} {state}")
        if not sent:
            _log.error(outcomes[-1])
    return outcomes
