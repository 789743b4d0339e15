"""Shadows of a split: versions that get a copy of its requests."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for table in ("endpoint", "split_history"):
        op.add_column(table, sa.Column("shadows", sa.JSON(), nullable=False, server_default="{}"))


def downgrade() -> None:
    for table in ("split_history", "endpoint"):
        op.drop_column(table, "shadows")
