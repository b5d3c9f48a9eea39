"""The cluster's own certificate authority, one certificate for each part, and configurations made of them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from .namespaces import check_call
from .settings import API_SERVICE_IP, HOST_ADDRESS, node_address

_DAYS = "30"
_API_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
_EC_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
_SUBJECTS = {
    "admin": "/O=system:masters/CN=admin",
    "coredns": "/CN=system:coredns",
    "front-proxy": "/CN=front-proxy",
    "kube-controller-manager": "/CN=system:kube-controller-manager",
    "kube-proxy": "/CN=system:kube-proxy",
    "kube-scheduler": "/CN=system:kube-scheduler",
    "kubelet-client": "/CN=kube-apiserver-kubelet-client",
    "kwok": "/O=system:masters/CN=kwok",
}


class Certificates:
    """Keys, certificates and kubeconfigs in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self) -> None:
        """Make the authority and the control plane's certificates, once."""
        complete = self.folder / "complete"
        if complete.exists():
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / "openssl.cnf").write_text("[req]\ndistinguished_name = dn\n[dn]\n")
        usage = [
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ]
        self._request("ca", "/CN=cluster-ca", *usage)
        names = [*(f"DNS:{name}" for name in (*_API_NAMES, "localhost"))]
        names += [f"IP:{address}" for address in ("127.0.0.1", HOST_ADDRESS, API_SERVICE_IP)]
        self._issue("kube-apiserver", "/CN=kube-apiserver", names)
        for name, subject in _SUBJECTS.items():
            self._issue(name, subject)
        key = str(self.folder / "service-accounts.key")
        check_call(["openssl", "genrsa", "-out", key, "2048"])
        check_call(
            ["openssl", "rsa", "-in", key, "-pubout", "-out", str(self.folder / "service-accounts.pub")]
        )
        for name in ("coredns", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kwok"):
            self.kubeconfig(name, self.folder / f"{name}.conf")
        complete.touch()

    def create_node(self, node: int) -> None:
        """Make a kubelet's certificate and configuration, once; the Node authorizer reads the name in it."""
        name = f"n{node}"
        if (self.folder / f"{name}.conf").exists():
            return
        self._issue(
            name, f"/O=system:nodes/CN=system:node:{name}", [f"DNS:{name}", f"IP:{node_address(node)}"]
        )
        self.kubeconfig(name, self.folder / f"{name}.conf")

    def kubeconfig(self, name: str, path: Path, server: str = HOST_ADDRESS) -> None:
        """Write a configuration that logs in with a certificate, which it carries."""
        authority, certificate, key = (
            self._encoded(file) for file in ("ca.crt", f"{name}.crt", f"{name}.key")
        )
        cluster = {"server": f"https://{server}:6443", "certificate-authority-data": authority}
        user = {"client-certificate-data": certificate, "client-key-data": key}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": name}}],
            "current-context": "local",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(document, indent=1))

    def _issue(self, name: str, subject: str, alternative_names: list[str] | None = None) -> None:
        extensions = [
            "-addext",
            "basicConstraints=CA:FALSE",
            "-addext",
            "extendedKeyUsage=serverAuth,clientAuth",
        ]
        if alternative_names:
            extensions += ["-addext", f"subjectAltName={','.join(alternative_names)}"]
        signer = ["-CA", str(self.folder / "ca.crt"), "-CAkey", str(self.folder / "ca.key")]
        self._request(name, subject, *signer, *extensions)

    def _request(self, name: str, subject: str, *options: str) -> None:
        files = ["-keyout", str(self.folder / f"{name}.key"), "-out", str(self.folder / f"{name}.crt")]
        base = ["openssl", "req", "-x509", "-config", str(self.folder / "openssl.cnf"), *_EC_KEY]
        check_call([*base, "-days", _DAYS, "-subj", subject, *options, *files])

    def _encoded(self, file: str) -> str:
        return base64.b64encode((self.folder / file).read_bytes()).decode()
