"""As whom PostgreSQL runs: as ourselves, or, since it refuses root, as somebody without privileges."""

import os
import pwd
import stat
from pathlib import Path
from typing import Any, NamedTuple

from comms.embedded.errors import AccountUnusable


class Account(NamedTuple):
    """The account the server runs as."""

    uid: int
    gid: int
    name: str

    @property
    def is_ours(self) -> bool:
        """Whether it is the account we run as."""
        return self.uid == os.geteuid()

    @property
    def is_known(self) -> bool:
        """Whether the machine has a name for it."""
        return self.name != str(self.uid)

    def as_process(self) -> dict[str, Any]:
        """The ``Popen`` arguments that give a child to this account."""
        return {} if self.is_ours else {"user": self.uid, "group": self.gid, "extra_groups": []}


def account_for(data: Path, wanted: str | None) -> Account:
    """Who runs the server over ``data``: we; and if we are root ``wanted``, the data's owner, postgres or nobody."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), _name_of(os.geteuid()))
    if wanted:
        account = _named(wanted)
        if account is None or account.uid == 0:
            raise AccountUnusable(
                f"PostgreSQL cannot run as {wanted!r}: name an existing user other than root in COMMS_POSTGRES_USER."
            )
        return account
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid, _name_of(owner.st_uid))
    for name in ("postgres", "nobody"):
        if account := _named(name):
            return account
    raise AccountUnusable(
        "PostgreSQL refuses to run as root and there is neither a user postgres nor nobody: "
        "run comms as an ordinary user, or name one in COMMS_POSTGRES_USER."
    )


def closed_to(account: Account, path: Path) -> Path | None:
    """The first folder from the root down to ``path`` that ``account`` may not enter."""
    if account.is_ours:
        return None
    for folder in reversed((path, *path.parents)):
        about = folder.stat()
        if about.st_uid == account.uid:
            may = about.st_mode & stat.S_IXUSR
        elif about.st_gid == account.gid:
            may = about.st_mode & stat.S_IXGRP
        else:
            may = about.st_mode & stat.S_IXOTH
        if not may:
            return folder
    return None


def give(path: Path, account: Account) -> None:
    """``path`` and all below it belong to ``account``; itself last, so that a kill midway is noticed."""
    if path.lstat().st_uid == account.uid:
        return
    for folder, _, files in os.walk(path, topdown=False):
        for name in (*files, ""):
            os.chown(Path(folder, name), account.uid, account.gid, follow_symlinks=False)


def _named(wanted: str) -> Account | None:
    try:
        entry = pwd.getpwnam(wanted)
    except KeyError:
        return Account(int(wanted), int(wanted), wanted) if wanted.isdecimal() else None
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
