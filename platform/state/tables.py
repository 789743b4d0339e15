"""The SQL tables, as they stand after the newest migration; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

# Times are seconds since 1970 in UTC, as floats: the same number in SQLite and PostgreSQL.

project = Table(
    "project",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("config", JSON, nullable=False),
    Column("code", String(64), nullable=False),  # digest of the bundle of the project's own files
    Column("updated_s", Float, nullable=False),
)

snapshot = Table(
    "snapshot",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project", String(64), nullable=False, index=True),
    Column("digest", String(64), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("created_s", Float, nullable=False),
    UniqueConstraint("project", "digest"),
)

endpoint = Table(
    "endpoint",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("split", JSON, nullable=False),  # {"3": 9000, "4": 1000}, weights in 1/10,000
    Column("shadows", JSON, nullable=False, server_default="{}"),  # {"5": 10000}, shares in 1/10,000
    Column("updated_s", Float, nullable=False),
)

split_history = Table(
    "split_history",
    metadata,
    Column("endpoint", String(64), primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("split", JSON, nullable=False),
    Column("shadows", JSON, nullable=False, server_default="{}"),
    Column("reason", Text, nullable=False),
    Column("at_s", Float, nullable=False),
)

deployment = Table(
    "deployment",
    metadata,
    Column("endpoint", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("artifact", Text, nullable=False),  # folder or URI that holds the version's artifact
    Column("options", JSON, nullable=False),  # replicas or autoscale; cpus, gpus, …
    Column("since_s", Float, nullable=False),
)

# What is, and not what should be: each replica writes its own row, and takes it out when it stops.
replica = Table(
    "replica",
    metadata,
    Column("address", String(64), primary_key=True),  # host:port of its listener
    Column("id", String(128), nullable=False, index=True),  # Ray Serve's id of the replica
    Column("endpoint", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("since_s", Float, nullable=False),
    Column("grpc_address", String(64)),  # host:port; null where it answers no gRPC
)

verdict = Table(
    "verdict",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(64), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("at_s", Float, nullable=False),
)

drift_report = Table(
    "drift_report",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("endpoint", String(64), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("verdict", String(32), nullable=False),
    Column("report", JSON, nullable=False),
    Column("at_s", Float, nullable=False),
)

# One body of labels each, numbered as they arrived; the records are in the store.
label_batch = Table(
    "label_batch",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("endpoint", String(64), nullable=False, index=True),
    Column("digest", String(64), nullable=False, index=True),  # SHA-256 of what its records say
    Column("rows", Integer, nullable=False),
    Column("arrived_s", Float, nullable=False),
)

performance_report = Table(
    "performance_report",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("endpoint", String(64), nullable=False, index=True),
    Column("version", Integer),  # null where it is of all versions together
    Column("verdict", String(32), nullable=False),
    Column("report", JSON, nullable=False),
    Column("at_s", Float, nullable=False),
)

pipeline_run = Table(
    "pipeline_run",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(64), nullable=False, index=True),
    Column("trigger", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", String(16), nullable=False),  # pending, running, promoted, rejected, rolled_back, failed
    Column("attempts", Integer, nullable=False),
    Column("created_s", Float, nullable=False),
    Column("updated_s", Float, nullable=False),
)

pipeline_step = Table(
    "pipeline_step",
    metadata,
    Column("run", String(64), ForeignKey("pipeline_run.id"), primary_key=True),
    Column("name", String(32), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("output", JSON, nullable=False),
    Column("started_s", Float, nullable=False),
    Column("ended_s", Float),  # null while the step is under way
)

# Rows are never taken out: that there was a first token is what closes the edge for good.
token = Table(
    "token",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, index=True),  # one valid token a name; revoked ones may share it
    Column("role", String(16), nullable=False),  # inference, deploy, admin
    Column("sha256", String(64), nullable=False, unique=True),
    Column("created_s", Float, nullable=False),
    Column("revoked_s", Float),  # null while it is valid
)

ledger = Table(
    "ledger",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at_s", Float, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(256), nullable=False),
    Column("detail", JSON, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
)
