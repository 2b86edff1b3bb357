"""Runs the ledger's migrations on the connection that the ledger hands over."""

from alembic import context

from ml_platform.storage.tables import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
connection.commit()
