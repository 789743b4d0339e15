"""The root of rayloop's errors: each says one clear sentence, an HTTP status and an exit code."""


class RayloopError(Exception):
    """Base of every error that rayloop raises on purpose; `str()` is one sentence for a person.

    `status` is the HTTP status an endpoint answers with, `exit_code` the code the command line ends with.
    """

    status = 500
    exit_code = 1


class InvalidInput(RayloopError, ValueError):
    """A value that a person gave breaks a rule; the sentence names the value and the rule."""

    status = 400
    exit_code = 2


class NotFound(RayloopError, LookupError):
    """A named thing does not exist."""

    status = 404
    exit_code = 3


class Conflict(RayloopError):
    """The request is sound, but the present state forbids it."""

    status = 409
    exit_code = 4


class Unavailable(RayloopError):
    """Something that the request needs is not there: a cluster, a GPU, a server."""

    status = 503
    exit_code = 5
