"""The `cluster` command."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from .cluster import LocalKubernetes
from .kind import KindCluster
from .programs import say
from .selection import choose
from .settings import ClusterError, Settings

_STAND_INS = "emulators"
_HELP = """a real Kubernetes for tests: kind where Docker runs, else one made of namespaces on this machine

FLOWCRAFT_CACHE          what was built (default ~/.cache/flowcraft); shared by all clones
FLOWCRAFT_CLUSTER_STATE  everything else of this cluster (default .cluster in the clone)
FLOWCRAFT_CLUSTER        `kind` or `local`: do not look whether Docker runs"""


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; 0 when it did what it should, 1 with one line that says why not."""
    given = sys.argv[1:] if arguments is None else arguments
    settings = Settings.from_environment()
    try:
        # What follows these two verbs is the command's own, options too: nothing for argparse.
        if given[:1] == ["kubectl"]:
            _become(choose(settings), given)
        if given[:1] == ["exec"] and given[1:2] not in ([], ["-h"], ["--help"]):
            _become(choose(settings), given[1:])
        return _run(_parser().parse_args(given), settings)
    except ClusterError as error:
        say(f"cluster: {error}")
        return 1


def _run(options: argparse.Namespace, settings: Settings) -> int:
    cluster = choose(settings)
    match options.verb:
        case "build" | "status":
            getattr(cluster, options.verb)()
        case "down":
            _end_stand_ins(settings)
            cluster.down()
        case "up":
            cluster.up(options.nodes)
        case "load-image":
            cluster.load_image(options.reference, Path(options.source))
        case "address":
            sys.stdout.write(f"{cluster.host_address}\n")
        case "kill" | "stop" | "start":
            getattr(cluster, options.verb)(options.part, options.node)
        case "node-kill" | "node-up":
            getattr(cluster, options.verb.replace("-", "_"))(options.node)
        case "kwok":
            cluster.kwok(options.nodes)
        case verb:
            raise ClusterError(f"{verb} what?")
    return 0


def _end_stand_ins(settings: Settings) -> None:
    """End the stand-ins that the demo left beside the cluster; they have data outside of its state."""
    state = settings.state / _STAND_INS
    if state.is_dir():
        own = settings.clone / ".venv" / "bin" / "python"
        python = str(own) if own.exists() else sys.executable
        command = [python, "-m", "tests.emulators", "down", "--state", str(state)]
        subprocess.run(command, cwd=settings.clone, check=False)


def _become(cluster: LocalKubernetes | KindCluster, command: list[str]) -> NoReturn:
    line = cluster.command(*command)
    os.environ.update(cluster.environment())
    os.execvp(line[0], line)  # noqa: S606 - the verb is to run the user's command


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "cluster", description=_HELP, formatter_class=argparse.RawTextHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("build", help="compile what the cluster is made of (minutes once, then nothing)")
    up = verbs.add_parser("up", help="start it, and wait until it is ready; again with more NODES: they join")
    up.add_argument("nodes", nargs="?", type=int, default=1, metavar="NODES")
    verbs.add_parser("down", help="end it, and leave nothing behind")
    verbs.add_parser("status", help="what runs, with its memory")
    verbs.add_parser("address", help="the address by which pods reach servers beside the cluster")
    load = verbs.add_parser(
        "load-image", help="give every node an image: an OCI archive, or a folder as file system"
    )
    load.add_argument("reference")
    load.add_argument("source")
    verbs.add_parser("exec", help="run a command in the cluster's network, with KUBECONFIG, kubectl and helm")
    verbs.add_parser("kubectl", help="kubectl, on this cluster")
    for verb, text in (
        ("kill", "kill a part (kubelet, containerd, etcd, kube-apiserver, ...): it is back after a second"),
        ("stop", "end a part"),
        ("start", "bring a stopped part back"),
    ):
        part = verbs.add_parser(verb, help=text)
        part.add_argument("part")
        part.add_argument("node", nargs="?", type=int, default=1)
    for verb, text in (("node-kill", "cut a node's power"), ("node-up", "give it back")):
        verbs.add_parser(verb, help=text).add_argument("node", type=int)
    kwok = verbs.add_parser("kwok", help="add fake nodes, for pods in thousands")
    kwok.add_argument("nodes", nargs="?", type=int, default=1, metavar="NODES")
    return parser


if __name__ == "__main__":
    sys.exit(main())
