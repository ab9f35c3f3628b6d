"""Where things lie: the data folder's parts, and a private folder for the unix socket."""

import hashlib
import os
import stat
from pathlib import Path

from comms.embedded.accounts import Account, closed_to
from comms.embedded.errors import AccountUnusable, DataDirectoryUnusable, explained

SOCKET_NAME = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 103  # bytes: macOS has room for 104 with the closing NUL, Linux for 108
LAYOUT = 1  # of the data folder; a newer comms that changes it counts up


class Folders:
    """Every path below ``data_dir``; ``mark`` is short, unlike any other data folder's, and names our processes."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self.mark = "comms-" + hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        self.data = self.data_dir / "postgres"
        self.draft = self.data_dir / "postgres.new"
        self.log = self.data_dir / "postgres.log"
        self.layout = self.data_dir / "layout"
        self.starting = self.data_dir / "start.lock"
        self.running = self.data_dir / "running.lock"
        self.users = self.data_dir / "users.lock"
        self.socket_dir = self.data_dir / "socket"
        too_long = len(os.fsencode(self.socket_dir / SOCKET_NAME)) > LONGEST_SOCKET_PATH
        if too_long or set(str(self.socket_dir)) & set(',"'):  # which PostgreSQL reads as a list of folders
            self.socket_dir = Path("/tmp", self.mark)  # not $TMPDIR: every process must find the same folder
        self.socket = self.socket_dir / SOCKET_NAME

    def open(self) -> None:
        """The data folder exists."""
        with explained(self.data_dir):
            # Root's folder must let the server's account through; what lies in it is closed by its own mode.
            self.data_dir.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)

    def must_be_known(self) -> None:
        """The data folder has a layout we know, a new one ours; to be called under ``start.lock``."""
        with explained(self.data_dir):
            if not self.layout.exists():
                draft = self.layout.with_suffix(".new")
                draft.write_text(f"{LAYOUT}\n")
                draft.rename(self.layout)
            layout = self.layout.read_text().strip()
            if not layout.isdecimal() or int(layout) > LAYOUT:
                raise DataDirectoryUnusable(
                    f"{self.data_dir} was written by a newer comms (layout {layout[:20]!r}, this one knows {LAYOUT}): "
                    "install that comms again, or choose another folder with COMMS_DATA_DIR."
                )

    def open_socket_dir(self, account: Account) -> None:
        """The socket's folder exists and is ``account``'s alone, so that who connects needs no password."""
        folder = self.socket_dir
        with explained(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            about = folder.lstat()
            foreign = about.st_uid not in {os.geteuid(), account.uid} and folder.parent != self.data_dir
            if not stat.S_ISDIR(about.st_mode) or foreign:
                raise DataDirectoryUnusable(
                    f"{folder} belongs to somebody else (user {about.st_uid}) and cannot hold our socket: remove it, "
                    "or choose a data folder with a shorter name with COMMS_DATA_DIR."
                )
            if about.st_uid != account.uid:
                os.chown(folder, account.uid, account.gid, follow_symlinks=False)
            if stat.S_IMODE(about.st_mode) != 0o700:
                folder.chmod(0o700)

    def must_be_open_to(self, account: Account, programs: Path) -> None:
        """``account`` reaches the data folder and the programs; no folder but our own is ever opened for it."""
        if closed := closed_to(account, self.data_dir):
            raise DataDirectoryUnusable(
                f"PostgreSQL cannot run as root, and its user {account.name} may not enter {closed}, where the data "
                f"folder {self.data_dir} lies: set COMMS_DATA_DIR to a folder outside it, such as /var/lib/comms, "
                "or run comms as an ordinary user."
            )
        if closed := closed_to(account, programs):
            raise AccountUnusable(
                f"PostgreSQL cannot run as root, and its user {account.name} may not enter {closed}, where its "
                "programs lie: install comms outside it, such as in /opt/comms, or run comms as an ordinary user."
            )
