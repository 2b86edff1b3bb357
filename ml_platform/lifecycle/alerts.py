"""Alerts through Apprise: routed by the owner, addresses only from the environment, else the log.

Who is told stands in the use case (``owner``); how, with all addresses and credentials, in the environment:

- ``ML_PLATFORM_ALERT_URLS``: told everything, for example the platform team's channel.
- ``ML_PLATFORM_ALERT_URLS_<TEAM>``: told what the team owns; its name in capitals, all else than
  letters and digits as ``_``.
- ``ML_PLATFORM_ALERT_MAIL``: a mail account as an Apprise address; mail goes to the owner's ``email``.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

import apprise

from ml_platform.config import OwnerConfig

URLS_VARIABLE = "ML_PLATFORM_ALERT_URLS"
MAIL_VARIABLE = "ML_PLATFORM_ALERT_MAIL"
Severity = Literal["warning", "failure"]
"""As Apprise names them, so that its services colour and page by them: somebody has to look, or it broke."""
_KINDS = {"warning": apprise.NotifyType.WARNING, "failure": apprise.NotifyType.FAILURE}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Alert:
    """What somebody should know.

    Attributes:
        title: In a line.
        body: The rest.
        owner: Whom it concerns; the general addresses alone when None.
        severity: How bad it is.
        link: Where to look, as an address.
    """

    title: str
    body: str
    owner: OwnerConfig | None = None
    severity: Severity = "warning"
    link: str = ""

    @property
    def text(self) -> str:
        """The body, then whose it is and where to look."""
        lines = [self.body]
        if self.owner is not None:
            lines.append(f"owner: {self.owner.team}, {self.owner.email}")
        if self.link:
            lines.append(f"look:  {self.link}")
        return "\n".join(lines)


def send(alert: Alert, environment: Mapping[str, str] | None = None) -> list[str]:
    """Send an alert to each address; one that fails does not stop the others.

    Args:
        alert: What to say.
        environment: Where the addresses are read, separated by white space.

    Returns:
        What happened, in sentences without the addresses: they may hold secrets.
    """
    addresses = _addresses(alert.owner, os.environ if environment is None else environment)
    level = logging.ERROR if alert.severity == "failure" else logging.WARNING
    _log.log(level, "%s: %s", alert.title, alert.text)
    if not addresses:
        return [f"alert logged (no {URLS_VARIABLE} is set): {alert.title}"]
    outcomes = []
    for position, address in enumerate(addresses, 1):
        service = apprise.Apprise()
        known = service.add(address)
        sent = bool(
            known and service.notify(title=alert.title, body=alert.text, notify_type=_KINDS[alert.severity])
        )
        state = "sent" if sent else "FAILED: " + ("no answer" if known else "unknown kind of address")
        outcomes.append(f"alert to address {position} of {len(addresses)} {state}")
        if not sent:
            _log.error(outcomes[-1])
    return outcomes


def team_variable(team: str) -> str:
    """The variable that holds a team's addresses."""
    return f"{URLS_VARIABLE}_{re.sub(r'[^A-Z0-9]', '_', team.upper())}"


def _addresses(owner: OwnerConfig | None, environment: Mapping[str, str]) -> list[str]:
    found = environment.get(URLS_VARIABLE, "").split()
    if owner is not None:
        found += environment.get(team_variable(owner.team), "").split()
        account = environment.get(MAIL_VARIABLE, "").strip()
        if account:
            found.append(f"{account}{'&' if '?' in account else '?'}to={quote(owner.email)}")
    return list(dict.fromkeys(found))
