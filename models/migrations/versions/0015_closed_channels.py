"""What happens in a closed channel is told to those who belong to it."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TABLES = ("events", "team_channels", "team_channel_members")


def upgrade() -> None:
    op.add_column("events", sa.Column("audience", sa.ARRAY(sa.Uuid()), nullable=True))
    # What was told already: of a channel that is gone nobody knows any more whose it was, so nobody hears of it.
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(
        """
        UPDATE events e SET audience = ARRAY(
            SELECT m.user_id FROM team_channel_members m
            WHERE m.workspace_id = e.workspace_id AND m.channel_id = told.channel_id
        )
        FROM (
            SELECT workspace_id, seq, CASE subject_type
                WHEN 'team_channel' THEN subject_id ELSE (data->>'channelId')::uuid END AS channel_id
            FROM events WHERE subject_type IN ('team_channel', 'team_channel_member', 'team_message')
        ) told
        WHERE e.workspace_id = told.workspace_id AND e.seq = told.seq AND NOT EXISTS (
            SELECT FROM team_channels c WHERE c.workspace_id = told.workspace_id AND c.id = told.channel_id
                AND NOT c.is_private AND c.type <> 'direct'
        )
        """
    )
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.drop_column("events", "audience")
