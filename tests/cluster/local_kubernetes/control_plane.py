"""The control plane: etcd, the API server, controllers, scheduler and DNS, as programs on node 1."""

from __future__ import annotations

import json
from collections.abc import Callable

from .beside import service_beside
from .namespaces import PROGRAMS, STATE
from .node import PKI, Node
from .settings import DNS_SERVICE_IP, HOST_ADDRESS, SERVICE_NETWORK, Settings

_ETCD = "http://127.0.0.1:2379"
_DNS_READY_PORT = 18181
_REQUEST_RATE = ("--kube-api-qps=300", "--kube-api-burst=600")
"""The defaults (20 and 50 a second) make a thousand pods take four minutes."""


class ControlPlane:
    """Starts the parts of node 1 that the others depend on; each may be stopped and started alone."""

    def __init__(self, node: Node, settings: Settings) -> None:
        self._node = node
        self._settings = settings
        self.parts: dict[str, Callable[[], None]] = {
            "etcd": self._etcd,
            "kube-apiserver": self._api_server,
            "kube-controller-manager": self._controllers,
            "kube-scheduler": self._scheduler,
            "coredns": self._dns,
            "kwok": self._kwok,
        }

    def start(self, *parts: str) -> None:
        """Start some parts, in the order given."""
        for part in parts:
            self.parts[part]()

    def _run(self, part: str, *options: str) -> None:
        self._node.inside.start(part, f"{PROGRAMS}/{part}", *options)

    def _etcd(self) -> None:
        self._run(
            "etcd",
            f"--data-dir={STATE}/etcd",
            f"--listen-client-urls={_ETCD}",
            f"--advertise-client-urls={_ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync",  # it outlives a killed process, not the machine's power: a test cluster
            "--log-level=warn",
        )

    def _api_server(self) -> None:
        self._run(
            "kube-apiserver",
            f"--etcd-servers={_ETCD}",
            f"--advertise-address={HOST_ADDRESS}",
            "--secure-port=6443",
            f"--tls-cert-file={PKI}/kube-apiserver.crt",
            f"--tls-private-key-file={PKI}/kube-apiserver.key",
            f"--client-ca-file={PKI}/ca.crt",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-signing-key-file={PKI}/service-accounts.key",
            f"--service-account-key-file={PKI}/service-accounts.pub",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-certificate-authority={PKI}/ca.crt",
            f"--kubelet-client-certificate={PKI}/kubelet-client.crt",
            f"--kubelet-client-key={PKI}/kubelet-client.key",
            f"--requestheader-client-ca-file={PKI}/ca.crt",
            "--requestheader-allowed-names=front-proxy",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={PKI}/front-proxy.crt",
            f"--proxy-client-key-file={PKI}/front-proxy.key",
            "--enable-aggregator-routing",
        )

    def _controllers(self) -> None:
        self._run(
            "kube-controller-manager",
            *_logins("kube-controller-manager"),
            f"--service-account-private-key-file={PKI}/service-accounts.key",
            f"--root-ca-file={PKI}/ca.crt",
            f"--cluster-signing-cert-file={PKI}/ca.crt",
            f"--cluster-signing-key-file={PKI}/ca.key",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--node-monitor-grace-period=20s",
            "--horizontal-pod-autoscaler-sync-period=5s",
            *_REQUEST_RATE,
        )

    def _scheduler(self) -> None:
        self._run("kube-scheduler", *_logins("kube-scheduler"), "--leader-elect=false", *_REQUEST_RATE)

    def _dns(self) -> None:
        (self._settings.state / "Corefile").write_text(_COREFILE)
        self._run("coredns", "-conf", f"{STATE}/Corefile")

    def _kwok(self) -> None:
        self._run(
            "kwok",
            f"--kubeconfig={PKI}/kwok.conf",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            f"--node-ip={HOST_ADDRESS}",
            "--node-lease-duration-seconds=16",  # without a Lease the nodes flap at a 20 s grace period
            "--v=WARN",
        )

    def dns_probe(self) -> list[str]:
        """A command that succeeds once DNS answers."""
        request = "GET /ready HTTP/1.0\\r\\n\\r\\n"
        ask = f"exec 3<>/dev/tcp/127.0.0.1/{_DNS_READY_PORT}; printf '{request}' >&3; grep -q ' 200 ' <&3"
        return self._node.inside.in_network("timeout", "2", "bash", "-c", ask)


def _logins(name: str) -> list[str]:
    file = f"{PKI}/{name}.conf"
    return [
        f"--kubeconfig={file}",
        f"--authentication-kubeconfig={file}",
        f"--authorization-kubeconfig={file}",
    ]


_COREFILE = f""". {{
  bind {HOST_ADDRESS}
  errors
  health 127.0.0.1:18080
  ready 127.0.0.1:{_DNS_READY_PORT}
  kubernetes cluster.local in-addr.arpa ip6.arpa {{
    kubeconfig {PKI}/coredns.conf
    ttl 5
  }}
}}
"""


def addons() -> str:
    """What the API server must know of the parts outside it: two roles, and where DNS is (a JSON list)."""
    lists: list[object] = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    dns_ports: list[dict[str, object]] = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    items: list[dict[str, object]] = [
        _binding("system:apiserver-to-kubelet", "system:kubelet-api-admin", "kube-apiserver-kubelet-client"),
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "system:coredns"},
            "rules": lists,
        },
        _binding("system:coredns", "system:coredns", "system:coredns"),
        *service_beside(HOST_ADDRESS, "kube-dns", "kube-system", dns_ports, clusterIP=DNS_SERVICE_IP),
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _binding(name: str, role: str, user: str) -> dict[str, object]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }
