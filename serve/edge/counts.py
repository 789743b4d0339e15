"""Owns how many requests each version got, and as what; has the edge word its counters for Prometheus."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .maps import AdminSocket

TABLE = "versions"
_ENTRY = re.compile(
    r"key=(?P<endpoint>\S+)--v(?P<version>\d+)/(?P<variant>\w+) .*"
    r"http_req_cnt=(?P<requests>\d+) http_err_cnt=(?P<refused>\d+) http_fail_cnt=(?P<failed>\d+)"
)
# HAProxy's own exporter knows no entries of tables, and a log-format answer can hold no line ends.
PAGE_LUA = """\
local metrics = {
    {"http_req_cnt", "rayloop_edge_requests_total"},
    {"http_err_cnt", "rayloop_edge_client_errors_total"},
    {"http_fail_cnt", "rayloop_edge_server_errors_total"},
}

core.register_service("versions", "http", function(applet)
    local entries, names, lines = core.backends["versions"].stktable:dump(), {}, {}
    for name in pairs(entries) do names[#names + 1] = name end
    table.sort(names)
    for _, metric in ipairs(metrics) do
        lines[#lines + 1] = "# TYPE " .. metric[2] .. " counter\\n"
        for _, name in ipairs(names) do
            local endpoint, version, variant = name:match("^(.+)%-%-v(%d+)/(%a+)$")
            local form = '{endpoint="%s",version="%s",variant="%s"} '
            local labels = string.format(form, endpoint, version, variant)
            lines[#lines + 1] = metric[2] .. labels .. string.format("%d\\n", entries[name][metric[1]])
        end
    end
    local text = table.concat(lines)
    applet:set_status(200)
    applet:add_header("content-type", "text/plain; version=0.0.4")
    applet:add_header("content-length", tostring(#text))
    applet:start_response()
    applet:send(text)
end)
"""


@dataclass(frozen=True, slots=True, order=True)
class VersionCount:
    """What the edge sent to a version as a variant since its process started; forgotten after a day without any."""

    endpoint: str
    version: int
    variant: str
    """`split`, `pinned` or `shadow`."""
    requests: int
    refused: int
    """Answers with a status of 400-499."""
    failed: int
    """Answers with a status of 500-599, and requests that got none."""


def read_counts(admin: AdminSocket) -> list[VersionCount]:
    """Ask a running edge that counts; raises Unavailable where it does not answer."""
    found = _ENTRY.finditer(admin.ask(f"show table {TABLE}"))
    return sorted(
        VersionCount(
            match["endpoint"],
            int(match["version"]),
            match["variant"],
            *(int(match[name]) for name in ("requests", "refused", "failed")),
        )
        for match in found
    )
