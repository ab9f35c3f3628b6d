"""Alembic's entry: runs on the connection it is handed, in the transaction that connection is in."""

from alembic import context

from models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    transaction_per_migration=False,
    compare_type=True,
)
context.run_migrations()
