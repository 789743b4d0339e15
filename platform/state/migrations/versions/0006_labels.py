"""Batches of labels, and reports on what the labels say of a version."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "label_batch",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("endpoint", sa.String(64), nullable=False, index=True),
        sa.Column("digest", sa.String(64), nullable=False, index=True),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("arrived_s", sa.Float(), nullable=False),
    )
    op.create_table(
        "performance_report",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("endpoint", sa.String(64), nullable=False, index=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("verdict", sa.String(32), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("at_s", sa.Float(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("performance_report")
    op.drop_table("label_batch")
