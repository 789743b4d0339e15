"""Listeners of replicas: where the edge asks each of them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "replica",
        sa.Column("address", sa.String(64), primary_key=True),
        sa.Column("id", sa.String(128), nullable=False, index=True),
        sa.Column("endpoint", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("since_s", sa.Float(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("replica")
