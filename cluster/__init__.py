"""The Ray cluster: start, connect, submit jobs, scale, describe. Importing it imports no Ray."""

from .cluster import Cluster, ClusterStatus, JobFailed, NodeStatus
from .environment import check_environment, cluster_environment
from .local import LocalCluster
from .ports import free_port, require_free_ports

__all__ = [
    "Cluster",
    "ClusterStatus",
    "JobFailed",
    "LocalCluster",
    "NodeStatus",
    "check_environment",
    "cluster_environment",
    "free_port",
    "require_free_ports",
]
