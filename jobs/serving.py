"""What a person does with versions: deploy, split, roll back, validate again; each checks first and says why not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..platform.errors import Conflict, InvalidInput, NotFound
from ..platform.project import MOST_REPLICAS, Project
from ..platform.registry import ModelVersion
from ..platform.state import Deployment
from ..platform.traffic import Split, parse_shadows
from ..platform.validate import Verdict
from ..platform.workspace import Workspace
from ..serve.versions import deploy_version, remove_version, scale_deployed, wait_for_edge
from .promotion import WHOLE, promote_version, serve_options

Say = Callable[[str], None]


def deploy(workspace: Workspace, name: str, version: int | None, say: Say, force: str | None = None) -> Deployment:
    """Bring a version of an endpoint up; the first one of an endpoint gets all traffic and is the champion.

    Raises NotFound for an unknown endpoint or version, Conflict for one that has not passed its gates
    (`force` gives a reason to serve it all the same; it is kept in the ledger).
    """
    project = project_of(workspace, name)
    found, why_not = require_deployable(workspace, name, version, force)
    number = found.version
    if why_not:
        workspace.ledger.record("force-deploy", f"{name}/{number}", {"why_not": why_not, "reason": force})
    wanted = Deployment(name, number, found.artifact, serve_options(project))
    deploy_version(workspace, wanted, say)
    if all(split.endpoint != name for split in workspace.endpoints.splits()):
        promote_version(workspace, project, number, "first version of the endpoint")
        say(f"{name} v{number} is the champion and has all traffic")
    else:
        say(f"{name} v{number} is up without traffic: `rayloop split {name} ...` gives it some")
    return wanted


def require_deployable(
    workspace: Workspace, name: str, version: int | None, force: str | None = None
) -> tuple[ModelVersion, str]:
    """The version that `deploy` would bring up, and why it may not be served, empty where it may; raises as that."""
    project = project_of(workspace, name)
    found = _registered(workspace, project)[-1]
    if version is not None:
        found = workspace.registry.version(project.name, version)
    verdict = workspace.verdicts.latest(project.name, found.version)
    if verdict is not None and verdict.passed:
        return found, ""
    why = "was never validated" if verdict is None else "broke a gate"
    if force is None:
        raise Conflict(f"{project.name} v{found.version} {why}: it may not be served; `rayloop validate` says more")
    return found, why


def newest_passed(workspace: Workspace, name: str) -> int:
    """The newest version of an endpoint that kept its gates. Raises NotFound, or Conflict where none did."""
    project = project_of(workspace, name)
    for found in reversed(_registered(workspace, project)):
        verdict = workspace.verdicts.latest(project.name, found.version)
        if verdict is not None and verdict.passed:
            return found.version
    raise Conflict(f"no version of {project.name!r} has passed its gates: `rayloop validate` says more")


def set_split(
    workspace: Workspace, name: str, shares: Sequence[str], reason: str, *, expected_revision: int | None = None
) -> Split:
    """Part an endpoint's traffic, such as `3=90 4=10`. A version with all of it is the champion.

    Raises Conflict, with nothing changed, where the split is no more at the expected revision.
    """
    project = owner_of(workspace, name)
    if not shares:
        raise InvalidInput("name at least one share, such as 3=90")
    asked = Split.parse(name, shares, revision=1)
    weights = {variant.version: variant.weight for variant in asked.variants if variant.weight}
    if project is not None and list(weights.values()) == [WHOLE]:
        promote_version(workspace, project, next(iter(weights)), reason, expected_revision=expected_revision)
        return workspace.endpoints.split(name)
    split = workspace.endpoints.set_split(name, weights, reason, expected_revision=expected_revision)
    wait_for_edge(workspace.settings, split)
    return split


def set_shadows(workspace: Workspace, name: str, shares: Sequence[str], reason: str, *, end: bool = False) -> Split:
    """Name an endpoint's shadows anew, such as `4` or `4=20`; `end` says that there shall be none."""
    owner_of(workspace, name)
    if end == bool(shares):
        raise InvalidInput("name at least one version, such as 4 or 4=20, or else --none")
    asked = parse_shadows(name, shares)
    if len({shadow.version for shadow in asked}) < len(asked):
        raise InvalidInput(f"shadows {' '.join(shares)} of {name!r} name a version twice, and may name it once")
    split = workspace.endpoints.set_shadows(name, {shadow.version: shadow.share for shadow in asked}, reason)
    wait_for_edge(workspace.settings, split)
    return split


def roll_back(workspace: Workspace, name: str, reason: str) -> Split:
    """Give all traffic back to the version that had it before."""
    project = owner_of(workspace, name)
    weights = workspace.endpoints.previous_weights(name)
    if project is None:
        split = workspace.endpoints.set_split(name, weights, reason)
        wait_for_edge(workspace.settings, split)
        return split
    promote_version(workspace, project, next(iter(weights)), reason)
    return workspace.endpoints.split(name)


def undeploy(workspace: Workspace, name: str, version: int) -> None:
    """Have a version without traffic drained and taken down. Raises NotFound, or Conflict while it has traffic."""
    if all(found.version != version for found in workspace.endpoints.deployments(name)):
        raise NotFound(f"{name} version {version} is not deployed")
    remove_version(workspace, name, version)


def owner_of(workspace: Workspace, endpoint: str) -> Project | None:
    """The project of an endpoint; None for one of models given by --model, which has no champion. Raises NotFound."""
    return None if workspace.endpoints.is_foreign(endpoint) else project_of(workspace, endpoint)


def scale_version(workspace: Workspace, name: str, version: int, replicas: int) -> Deployment:
    """Give a deployed version another number of replicas; those that stay are not restarted.

    The number holds until the version is deployed again. Raises InvalidInput for a number out of range, NotFound
    for a version that is not deployed, Conflict for one that scales by itself.
    """
    if not 1 <= replicas <= MOST_REPLICAS:
        raise InvalidInput(
            f"{replicas} replicas: it must be a number from 1 to {MOST_REPLICAS:,}; "
            "a version goes to none by serve.autoscale with min 0, or by `rayloop undeploy`"
        )
    return scale_deployed(workspace, name, version, replicas)


def unload(workspace: Workspace, name: str) -> list[int]:
    """Take every version without traffic down; returns which. Raises NotFound, or Conflict where all have traffic."""
    deployed = [found.version for found in workspace.endpoints.deployments(name)]
    if not deployed:
        raise NotFound(f"no version of {name!r} is deployed")
    splits = [split for split in workspace.endpoints.splits() if split.endpoint == name]
    in_split = {variant.version for split in splits for variant in split.variants}
    in_split |= {shadow.version for split in splits for shadow in split.shadows}
    idle = [version for version in deployed if version not in in_split]
    if not idle:
        raise Conflict(f"every deployed version of {name!r} has traffic: move its share away first")
    for version in idle:
        remove_version(workspace, name, version)
    return idle


def project_of(workspace: Workspace, endpoint: str) -> Project:
    """The project that serves under an endpoint's name. Raises NotFound."""
    if workspace.endpoints.is_foreign(endpoint):
        raise NotFound(f"endpoint {endpoint!r} serves models given by --model, and no project")
    project, _ = workspace.projects.load(workspace.projects.named_by_endpoint(endpoint))
    return project


def validate_again(workspace: Workspace, name: str, version: int | None, digest: str | None) -> Verdict:
    """Judge a registered version anew, beside today's champion, and store the verdict with it."""
    project = project_of(workspace, name)
    found = _registered(workspace, project)[-1]
    if version is not None:
        found = workspace.registry.version(project.name, version)
    from .evaluate import store_verdict, validate_artifact  # torch and scikit-learn take 4 s, and a deploy needs none

    verdict = validate_artifact(workspace, project, workspace.snapshot(project.name, digest), found.artifact)
    store_verdict(workspace, found, verdict)
    return verdict


def _registered(workspace: Workspace, project: Project) -> list[ModelVersion]:
    """All versions of the project's model, oldest first and at least one. Raises NotFound."""
    versions = workspace.registry.versions(project.name)
    if not versions:
        raise NotFound(f"no model {project.name!r} is registered: run `rayloop train` first")
    return versions
