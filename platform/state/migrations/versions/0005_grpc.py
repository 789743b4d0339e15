"""Where replicas answer gRPC; null where they do not."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("replica", sa.Column("grpc_address", sa.String(64), nullable=True))


def downgrade() -> None:
    op.drop_column("replica", "grpc_address")
