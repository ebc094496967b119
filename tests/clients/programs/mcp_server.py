"""Calls tools of the MCP server of cyanheads: the result of each call."""

import json
import subprocess
import sys
from typing import IO, Any

CLIENT = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


class Session:
    """A session with the server over its standard input and output."""

    def __init__(self, stdin: IO[str], stdout: IO[str]) -> None:
        self.stdin, self.stdout = stdin, stdout
        self.last_id = 0

    def call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self.last_id += 1
        self.send(id=self.last_id, method=method, params=params)
        for line in self.stdout:
            message: dict[str, Any] = json.loads(line)
            if message.get("id") == self.last_id:
                result: dict[str, Any] = message["result"]
                return result
        raise EOFError

    def send(self, **message: Any) -> None:
        self.stdin.write(json.dumps({"jsonrpc": "2.0"} | message) + "\n")
        self.stdin.flush()


def search(session: Session, tool: str, **arguments: Any) -> dict[str, Any]:
    result = session.call("tools/call", {"name": tool, "arguments": arguments})
    papers = result.get("structuredContent", {}).get("papers", [])
    return {"papers": papers, "result": result, "error": result.get("isError")}


with subprocess.Popen(
    ["arxiv-mcp-server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
) as server:
    assert server.stdin
    assert server.stdout
    session = Session(server.stdin, server.stdout)
    name = session.call("initialize", CLIENT)["serverInfo"]["name"]
    assert name == "@cyanheads/arxiv-mcp-server", name
    session.send(method="notifications/initialized")
    outcomes = {
        name: search(session, **arguments) for name, arguments in json.loads(sys.argv[1]).items()
    }
    server.stdin.close()
    server.terminate()
print(json.dumps(outcomes))
