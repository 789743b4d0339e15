"""Owns what each route of the control API does, by the functions that the command line calls; it knows no sockets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...platform.errors import InvalidInput, NotFound, RayloopError, Unavailable
from ...platform.labels import parse_body
from ...platform.report import CONTENT_TYPE, DriftCheck, read_stored, write_metrics
from ...platform.state import Deployment, Token
from ...platform.traffic import Split, app_name
from ...platform.workspace import Workspace
from ...serve.versions import application_states
from .. import serving
from ..labelling import add_labels
from .bodies import DeployBody, LoadBody, ReasonBody, ReplicasBody, SplitBody, TokenBody, UnloadBody
from .call import Answer, Call, Forbidden
from .operations import Operation, Operations


class NotImplementedHere(RayloopError):
    """The route is known, and this release cannot do it."""

    status = 501


class Api:
    """The routes' work; each method may block, and is called in a thread."""

    def __init__(self, workspace: Workspace, operations: Operations | None = None) -> None:
        self._workspace = workspace
        self._operations = operations or Operations()

    def list_endpoints(self, _call: Call) -> Answer:
        """Every endpoint that has a split or a version that is up."""
        workspace = self._workspace
        splits = {split.endpoint: split for split in workspace.endpoints.splits()}
        deployed: dict[str, list[Deployment]] = {name: [] for name in splits}
        for found in workspace.endpoints.deployments():
            deployed.setdefault(found.endpoint, []).append(found)
        states = self._states()
        shown = [_endpoint(name, splits.get(name), deployed[name], states) for name in sorted(deployed)]
        return Answer(200, {"endpoints": shown})

    def show_endpoint(self, call: Call) -> Answer:
        """One endpoint: its split, revision and versions, and what Serve says of them."""
        name, endpoints = call.endpoint, self._workspace.endpoints
        split = next((found for found in endpoints.splits() if found.endpoint == name), None)
        deployed = endpoints.deployments(name)
        if split is None and not deployed:
            raise NotFound(f"no endpoint {name!r} is served here")
        return Answer(200, _endpoint(name, split, deployed, self._states()))

    def set_split(self, call: Call) -> Answer:
        """Part the traffic anew."""
        body = call.read(SplitBody)
        shares, revision = body.shares(), body.revision
        serving.set_split(self._workspace, call.endpoint, shares, body.reason, expected_revision=revision)
        return self.show_endpoint(call)

    def roll_back(self, call: Call) -> Answer:
        """Give all traffic back to the version that had it before."""
        serving.roll_back(self._workspace, call.endpoint, call.read(ReasonBody).reason)
        return self.show_endpoint(call)

    def deploy(self, call: Call) -> Answer:
        """Begin to bring a version up; what can be refused is refused at once."""
        force = call.read(DeployBody).force
        if force is not None and not call.caller.is_admin:
            raise Forbidden("serving a version that has not passed its gates needs a token of role admin")
        serving.require_deployable(self._workspace, call.endpoint, call.version, force)
        begun = self._begin_deploy(call.endpoint, call.version, force)
        return Answer(202, begun.written(), {"location": f"/v2/operations/{begun.id}"})

    def undeploy(self, call: Call) -> Answer:
        """Take a version without traffic down."""
        serving.undeploy(self._workspace, call.endpoint, call.version)
        return Answer(200, {})

    def scale(self, call: Call) -> Answer:
        """Bring a version to a number of replicas."""
        replicas = call.read(ReplicasBody).replicas
        scale_version = getattr(serving, "scale_version", None)
        if scale_version is None:
            raise NotImplementedHere("this release cannot scale a version that is up: set serve.replicas and deploy it")
        scale_version(self._workspace, call.endpoint, call.version, replicas)
        return self.show_endpoint(call)

    def add_labels(self, call: Call) -> Answer:
        """Store what predictions turned out to be; the same body again changes nothing."""
        added = add_labels(self._workspace, call.endpoint, parse_body(call.content))
        return Answer(200, added.to_dict())

    def show_operation(self, call: Call) -> Answer:
        """How far an operation is."""
        return Answer(200, self._operations.get(call.names["id"]).written())

    def load(self, call: Call) -> Answer:
        """Bring a version up, or the newest that kept its gates, and answer when it is, as Triton does."""
        version = call.read(LoadBody).parameters.version
        if version is None:
            version = serving.newest_passed(self._workspace, call.endpoint)
        self._operations.wait(self._begin_deploy(call.endpoint, version, None))
        return Answer(200, {})

    def unload(self, call: Call) -> Answer:
        """Take one version without traffic down, or all of them; traffic is never taken away by it."""
        version = call.read(UnloadBody).parameters.version
        if version is None:
            serving.unload(self._workspace, call.endpoint)
        else:
            serving.undeploy(self._workspace, call.endpoint, version)
        return Answer(200, {})

    def drift_metrics(self, _call: Call) -> Answer:
        """The newest drift verdict of every endpoint that is served, as Prometheus reads it."""
        served = {found.endpoint for found in self._workspace.endpoints.deployments()}
        checks, unreadable = [], 0
        for found in self._workspace.verdicts.newest_drift():
            if found.endpoint not in served:
                continue
            try:
                checks.append(DriftCheck(found.endpoint, found.version, read_stored(found.report), found.at_s))
            except InvalidInput:
                unreadable += 1
        return Answer(200, write_metrics(checks, unreadable).encode(), {"content-type": CONTENT_TYPE})

    def list_tokens(self, _call: Call) -> Answer:
        """Every token that ever was; never the tokens themselves."""
        return Answer(200, {"tokens": [_token(found) for found in self._workspace.tokens.tokens()]})

    def make_token(self, call: Call) -> Answer:
        """Make a token, which is told this one time."""
        body = call.read(TokenBody)
        made = self._workspace.tokens.create(body.name, body.role)
        return Answer(201, {"name": body.name, "role": body.role, "token": made})

    def revoke_token(self, call: Call) -> Answer:
        """Let a token in no more."""
        return Answer(200, _token(self._workspace.tokens.revoke(call.names["name"])))

    def _begin_deploy(self, name: str, version: int, force: str | None) -> Operation:
        forced = "" if force is None else f" by force: {force}"
        return self._operations.start(
            f"deploy {name} v{version}{forced}",
            lambda say: serving.deploy(self._workspace, name, version, say, force),
        )

    def _states(self) -> Mapping[str, Mapping[str, Any]]:
        """What Serve says of its applications; nothing where it does not answer, and all are UNKNOWN then."""
        try:
            return application_states(self._workspace.settings)
        except Unavailable:
            return {}


def _endpoint(
    name: str, split: Split | None, deployed: list[Deployment], states: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    weights = {} if split is None else {variant.version: variant.weight for variant in split.variants}
    return {
        "name": name,
        "revision": 0 if split is None else split.revision,
        "split": {str(version): weight for version, weight in sorted(weights.items())},
        "versions": [
            {
                "version": found.version,
                "weight": weights.get(found.version, 0),
                "replicas": found.options.get("replicas", 1),
                "running": _running(states.get(app_name(name, found.version), {})),
                "state": states.get(app_name(name, found.version), {}).get("status", "UNKNOWN"),
            }
            for found in deployed
        ],
    }


def _running(state: Mapping[str, Any]) -> int:
    """How many replicas of an application run, by Serve's word."""
    replicas = [found for part in state.get("deployments", {}).values() for found in part.get("replicas", [])]
    return sum(found.get("state") == "RUNNING" for found in replicas)


def _token(found: Token) -> dict[str, Any]:
    """What is told of a token; its hash is not."""
    return {"name": found.name, "role": found.role, "created_s": found.created_s, "revoked_s": found.revoked_s}
