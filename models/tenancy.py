"""Who may see a row is decided in the database.

Two roles use the tables, and neither owns them: ``comms_web`` sees the one workspace its transaction has named,
``comms_worker`` (provider look-up, groups of webhooks, queues, sweeps) sees all by a policy of its own. Row security is
enabled and forced, so the owner sees nothing either.
"""

from collections.abc import Iterator

from models.base import Base

WEB = "comms_web"
WORKER = "comms_worker"
WORKSPACE_SETTING = "app.workspace_id"

CURRENT = f"(SELECT nullif(current_setting('{WORKSPACE_SETTING}', true), '')::uuid)"

RIGHTS = {
    "agent_action_audit_log": "SELECT, INSERT",
    "consent_entries": "SELECT, INSERT",
    "events": "SELECT, INSERT",
    "users": "SELECT",
    "workspace_members": "SELECT",
}
"""What ``comms_web`` may do where that is not everything: logs are only added to, a user is not one workspace's.

Who makes a member sees a user: that is the worker's, and of a member the web changes only the columns that migration
0026 names.
"""


def tenant_tables() -> list[str]:
    """The tables whose rows belong to a workspace, by the column that says so."""
    return sorted(name for name, table in Base.metadata.tables.items() if "workspace_id" in table.c)


def secured(table: str, visible: str = f"workspace_id = {CURRENT}") -> Iterator[str]:
    """The statements after which ``table`` shows ``comms_web`` only rows for which ``visible`` holds."""
    rights = RIGHTS.get(table, "SELECT, INSERT, UPDATE, DELETE")
    yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
    yield f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"
    yield f"CREATE POLICY workspace ON {table} TO {WEB} USING ({visible}) WITH CHECK ({visible})"
    yield f"CREATE POLICY everywhere ON {table} TO {WORKER} USING (true) WITH CHECK (true)"
    yield f"GRANT {rights} ON {table} TO {WEB}"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {WORKER}"


def secured_workspaces() -> Iterator[str]:
    """The workspaces table shows ``comms_web`` its own row."""
    return secured("workspaces", f"id = {CURRENT}")


def secured_users() -> Iterator[str]:
    """Users are global; ``comms_web`` sees those who are, or were, members of its workspace."""
    return secured("users", "EXISTS (SELECT FROM workspace_members m WHERE m.user_id = users.id)")


def secured_catalogue(table: str) -> Iterator[str]:
    """What is published is everybody's to read; the rest, and every write, is its author's workspace's."""
    authored = f"author_workspace_id = {CURRENT}"
    yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
    yield f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"
    yield f"CREATE POLICY published ON {table} FOR SELECT TO {WEB} USING (is_published AND {CURRENT} IS NOT NULL)"
    yield f"CREATE POLICY authored ON {table} TO {WEB} USING ({authored}) WITH CHECK ({authored})"
    yield f"CREATE POLICY everywhere ON {table} TO {WORKER} USING (true) WITH CHECK (true)"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {WEB}, {WORKER}"


def hidden(table: str) -> Iterator[str]:
    """The statements after which only ``comms_worker`` knows of ``table``: it belongs to no workspace."""
    yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
    yield f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"
    yield f"CREATE POLICY everywhere ON {table} TO {WORKER} USING (true) WITH CHECK (true)"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {WORKER}"
