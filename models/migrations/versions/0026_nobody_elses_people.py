"""The web role can name nobody else's: it makes no members, rings no bell for another workspace, signs for no stranger.

A member made is a user seen, so members are made by the worker's role alone; what the web role may change of them is
what their workspace decides.
"""

from alembic import op

from models.tenancy import CURRENT, WEB, WORKER

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_CHANGED = "role, permissions, phone, is_active, updated_at"

# Whose row a job is about, or whose file; a job that names neither only wakes somebody.
_WHOSE = """
coalesce(
    convert_from(payload, 'UTF8')::jsonb ->> 'workspaceId',
    split_part(convert_from(payload, 'UTF8')::jsonb ->> 'storageKey', '/', 1)
)
"""


def upgrade() -> None:
    op.execute(f"REVOKE INSERT, UPDATE, DELETE ON workspace_members FROM {WEB}")
    op.execute(f"GRANT UPDATE ({_CHANGED}) ON workspace_members TO {WEB}")
    ours = f"coalesce({_WHOSE}, {CURRENT}::text) = {CURRENT}::text"
    op.execute("ALTER TABLE jobs.pgqueuer ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE jobs.pgqueuer FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY workspace ON jobs.pgqueuer TO {WEB} USING ({ours}) WITH CHECK ({ours})")
    op.execute(f"CREATE POLICY everywhere ON jobs.pgqueuer TO {WORKER} USING (true) WITH CHECK (true)")
    op.drop_constraint("fk_agent_packs_author_id", "agent_packs")
    op.create_foreign_key(
        op.f("fk_agent_packs_author_workspace_id_author_id"),
        "agent_packs",
        "workspace_members",
        ["author_workspace_id", "author_id"],
        ["workspace_id", "user_id"],
        ondelete="SET NULL (author_id)",
    )


def downgrade() -> None:
    op.drop_constraint("fk_agent_packs_author_workspace_id_author_id", "agent_packs")
    op.create_foreign_key(
        op.f("fk_agent_packs_author_id"), "agent_packs", "users", ["author_id"], ["id"], ondelete="SET NULL"
    )
    for policy in ("everywhere", "workspace"):
        op.execute(f"DROP POLICY {policy} ON jobs.pgqueuer")
    op.execute("ALTER TABLE jobs.pgqueuer NO FORCE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE jobs.pgqueuer DISABLE ROW LEVEL SECURITY")
    op.execute(f"GRANT INSERT, UPDATE, DELETE ON workspace_members TO {WEB}")
