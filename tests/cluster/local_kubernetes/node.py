"""One node: its namespaces and network, containerd, the kubelet and kube-proxy."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from .certificates import Certificates
from .cgroups import create_cgroup, remove_cgroup
from .namespaces import PROGRAMS, STATE, Namespaces, check_call, wait_until
from .programs import Programs
from .settings import (
    API_SERVICE_IP,
    DNS_SERVICE_IP,
    HOST_ADDRESS,
    POD_NETWORK,
    SERVICE_NETWORK,
    ClusterError,
    Settings,
    node_address,
)

PKI = f"{STATE}/pki"
SANDBOX_IMAGE = "localhost/pause:1"


class Node:
    """Node number `number`; node 1 also owns the bridge that joins the nodes, and the control plane."""

    def __init__(self, number: int, settings: Settings, programs: Programs) -> None:
        self.number = number
        self.name = f"n{number}"
        self.folder = settings.state / self.name
        self.inside = Namespaces(self.folder)
        self._settings = settings
        self._programs = programs

    @property
    def pods(self) -> str:
        """The network that this node's pods get their addresses from."""
        return f"{POD_NETWORK}.{self.number}.0/24"

    @property
    def cgroup(self) -> str:
        """This node's own cgroup: two kubelets in one would end each other's pods."""
        return f"{self._settings.cgroup}/{self.name}"

    def power_on(self, first: Node) -> None:
        """Make the namespaces, folders and network of the node, unless they are there."""
        if self.inside.holder is not None:
            return
        for folder in ("var/lib", "var/log", "var/tmp", "run"):
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
        holder = self.inside.create(self._programs / "pause")
        try:
            create_cgroup(self.cgroup)
            self.inside.script(self._mounts())
            self._network(first, holder.pid)
        except ClusterError:
            self.power_off()  # half a node would pass for a whole one next time
            raise

    def _mounts(self) -> str:
        # The new /run is filled before it hides the old one, so that state and programs may lie anywhere,
        # even below /run or /var.
        run, state, programs = (
            shlex.quote(str(path))
            for path in (self.folder / "run", self._settings.state, self._programs.folder)
        )
        return f"""
            hostname {self.name}
            mount -t tmpfs -o mode=755 tmpfs {run}
            cd {run}
            mkdir -p flowcraft/state flowcraft/programs
            mount --bind {state} flowcraft/state
            mount --bind {programs} flowcraft/programs
            cd /
            mount --no-mtab --move {run} /run
            mount --bind {STATE}/{self.name}/var /var
            ln -sfn /run /var/run
            mount --make-rshared /
            ip link set lo up
            sysctl -qw net.ipv4.ip_forward=1
            sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true"""

    def _network(self, first: Node, holder: int) -> None:
        if self.number == 1:
            self.inside.script(f"""
                ip link add nodes type bridge
                ip addr add {HOST_ADDRESS}/24 dev nodes
                ip link set nodes up
                ip route add {SERVICE_NETWORK} dev nodes""")  # kube-proxy rewrites it before it gets there
            return
        port, address = f"node{self.number}", node_address(self.number)
        plug = f"""
            ip link del {port} 2>/dev/null || true
            ip link add {port} type veth peer name eth0 netns {holder}
            ip link set {port} master nodes up"""
        check_call(first.inside.in_network("sh", "-euc", plug))
        self.inside.script(f"""
            ip addr add {address}/24 dev eth0
            ip link set eth0 up
            ip route add default via {HOST_ADDRESS}""")

    def reach(self, other: Node) -> None:
        """Route to another node's pods."""
        self.inside.script(f"ip route replace {other.pods} via {node_address(other.number)}")

    def start_containerd(self, images: list[Path]) -> None:
        """Start the container runtime, and give it the images that every node has."""
        (self.folder / "cni").mkdir(exist_ok=True)
        (self.folder / "cni" / "10-pods.conflist").write_text(json.dumps(self._cni()))
        (self.folder / "containerd.toml").write_text(
            _CONTAINERD.format(state=STATE, programs=PROGRAMS, node=self.name)
        )
        self.inside.start(
            "containerd", f"{PROGRAMS}/containerd", "-c", f"{STATE}/{self.name}/containerd.toml"
        )
        client = self.inside.enter(f"{PROGRAMS}/ctr", "version")
        wait_until(f"containerd on {self.name}", 20, lambda: _succeeds(client))
        for image in images:
            self.import_image(image)

    def import_image(self, archive: Path) -> None:
        """Load an OCI image archive.

        Raises:
            ClusterError: containerd refused it.
        """
        command = [f"{PROGRAMS}/ctr", "-n", "k8s.io", "images", "import", "--local", "--digests=false", "-"]
        with archive.open("rb") as stream:
            check_call(self.inside.enter(*command), stdin=stream)

    def start_kubelet(self, certificates: Certificates) -> None:
        """Start the kubelet and kube-proxy."""
        certificates.create_node(self.number)
        (self.folder / "kubelet.json").write_text(json.dumps(self._kubelet(), indent=1))
        (self.folder / "proxy.json").write_text(json.dumps(self._proxy(), indent=1))
        here = f"{STATE}/{self.name}"
        self.inside.start(
            "kubelet",
            f"{PROGRAMS}/kubelet",
            f"--config={here}/kubelet.json",
            f"--kubeconfig={PKI}/{self.name}.conf",
            f"--hostname-override={self.name}",
            f"--node-ip={node_address(self.number)}",
        )
        self.inside.start("kube-proxy", f"{PROGRAMS}/kube-proxy", f"--config={here}/proxy.json")

    def wait_for_services(self) -> None:
        """Wait until the API server answers by its service address: a node can be Ready before that."""
        probe = f": </dev/tcp/{API_SERVICE_IP}/443"
        command = self.inside.in_network("timeout", "1", "bash", "-c", probe)
        wait_until(f"services on {self.name}", 30, lambda: _succeeds(command))

    def power_off(self) -> None:
        """Cut the node's power and clear what the kernel does not."""
        self.inside.end()
        remove_cgroup(self.cgroup)

    def _cni(self) -> dict[str, object]:
        addresses = {
            "type": "host-local",
            "ranges": [[{"subnet": self.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        bridge = {
            "type": "bridge",
            "bridge": "pods",
            "isGateway": True,
            "hairpinMode": True,
            "ipam": addresses,
        }
        ports = {"type": "portmap", "capabilities": {"portMappings": True}, "backend": "nftables"}
        return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}

    def _kubelet(self) -> dict[str, object]:
        x509 = {"clientCAFile": f"{PKI}/ca.crt"}
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": x509},
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{PKI}/{self.name}.crt",
            "tlsPrivateKeyFile": f"{PKI}/{self.name}.key",
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "clusterDNS": [DNS_SERVICE_IP],
            "clusterDomain": "cluster.local",
            "resolvConf": "",
            # What a container without CAP_SYS_RESOURCE may set.
            "maxOpenFiles": 20000,
            "oomScoreAdj": 0,
            # A test cluster starts many pods at once on a disk that others use too.
            "serializeImagePulls": False,
            "kubeAPIQPS": 100,
            "kubeAPIBurst": 200,
            "evictionHard": {"memory.available": "200Mi", "nodefs.available": "2%"},
            "imageGCHighThresholdPercent": 100,
            # A lost node is seen after 20 s (see node-monitor-grace-period).
            "nodeStatusUpdateFrequency": "4s",
            "nodeLeaseDurationSeconds": 16,
        }

    def _proxy(self) -> dict[str, object]:
        untouched = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": f"{PKI}/kube-proxy.conf"},
            "mode": "nftables",
            "clusterCIDR": f"{POD_NETWORK}.0.0/16",
            "hostnameOverride": self.name,
            "conntrack": untouched,
            "oomScoreAdj": 0,
        }


_CONTAINERD = f"""version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{SANDBOX_IMAGE}"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["{{programs}}"]
  conf_dir = "{{state}}/{{node}}/cni"
"""


def _succeeds(command: list[str]) -> bool:
    try:
        check_call(command)
    except ClusterError:
        return False
    return True
