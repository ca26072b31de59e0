"""Are images/kubernetes/*.yaml what Kubernetes and KServe know, and what we promise of them?

    kubernetes.py METRICS FILE...

Schemas of Kubernetes are those of the package kubernetes-validate, of its oldest and newest version, with
unknown keys refused. KServe's are its own package's tables of each type, read and not imported; what they take
from Kubernetes is checked as a pod. Then every file is broken in each of some ways, which must be seen.
"""
import ast
import copy
import functools
import importlib.util
import pathlib
import re
import sys

import kubernetes_validate.utils
import yaml

# It reads the same files each time.
kubernetes_validate.utils.schema_contents = functools.cache(
    kubernetes_validate.utils.schema_contents)
VERSIONS = kubernetes_validate.utils.all_versions()

PLAIN = {"str": str, "bool": bool, "int": int, "float": (int, float), "object": object}
# Keys of a runtime's spec that a pod's has, too.
OF_POD = ["affinity", "containers", "imagePullSecrets", "nodeSelector", "tolerations", "volumes"]


class Kserve:
    """The types of KServe, by the sources of its package."""

    def __init__(self):
        folder = pathlib.Path(importlib.util.find_spec("kserve").submodule_search_locations[0])
        self.texts = {}
        for path in (folder / "models").glob("*.py"):
            text = path.read_text()
            for name in re.findall(r"^class (\w+)", text, re.MULTILINE):
                self.texts[name] = text

    @functools.cache
    def table(self, name):
        """Types by JSON key, and the keys that must be there; None where KServe has no such type."""
        text = self.texts.get(name)
        if text is None:
            return None
        [of_class] = [n for n in ast.parse(text).body if isinstance(n, ast.ClassDef)]
        said = {}
        for node in of_class.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
                said[node.targets[0].id] = ast.literal_eval(node.value)
        types, keys = said["openapi_types"], said["attribute_map"]
        needed = re.findall(r"Invalid value for `(\w+)`, must not be `None`", text)
        return {keys[k]: t for k, t in types.items()}, {keys[k] for k in needed}

    def check(self, kind, value, at):
        """What is wrong with a value of a type."""
        if kind in PLAIN:
            return [] if isinstance(value, PLAIN[kind]) else [f"{at} is no {kind}"]
        if of_list := re.fullmatch(r"list\[(.+)\]", kind):
            if not isinstance(value, list):
                return [f"{at} is no list"]
            checked = (self.check(of_list[1], v, f"{at}[{i}]") for i, v in enumerate(value))
            return [problem for found in checked for problem in found]
        if of_map := re.fullmatch(r"dict\(str, (.+)\)", kind):
            checked = (self.check(of_map[1], v, f"{at}.{k}") for k, v in value.items())
            return [problem for found in checked for problem in found]
        table = self.table(kind)
        if table is None:
            return []
        types, needed = table
        problems = [f"{at} has no {key}" for key in sorted(needed - value.keys())]
        for key, inner in value.items():
            if key in types:
                problems += self.check(types[key], inner, f"{at}.{key}")
            else:
                problems.append(f"{at}.{key} is unknown to {kind}")
        return problems


def by_kubernetes(resource, versions):
    """What the schemas of Kubernetes say."""
    problems = []
    for version in versions:
        try:
            kubernetes_validate.utils.validate(resource, version, strict=True)
        except Exception as error:
            problems.append(f"Kubernetes {version}: {error}")
    return problems


def by_kserve(kserve, resource, versions):
    """What KServe's types say, and Kubernetes of the pod in them."""
    group, version = resource["apiVersion"].split("/")
    if group != "serving.kserve.io":
        return [f"{resource['apiVersion']} is not KServe's"]
    kind = version.capitalize() + resource["kind"]
    if kserve.table(kind) is None:
        return [f"KServe knows no {kind}"]
    problems = kserve.check(kind, resource, resource["kind"])
    spec, of_kubernetes = resource["spec"], {"apiVersion": "v1", "metadata": resource["metadata"]}
    problems += by_kubernetes(of_kubernetes | {"kind": "ConfigMap"}, versions)
    if "containers" in spec:
        pod = {key: spec[key] for key in OF_POD if key in spec}
        problems += by_kubernetes(of_kubernetes | {"kind": "Pod", "spec": pod}, versions)
    return problems


def promises(resource, metrics):
    """What images/README.md says of these files."""
    kind, spec = resource["kind"], resource["spec"]
    problems = []

    def want(holds, what):
        if not holds:
            problems.append(f"{kind}: {what}")

    if kind == "HorizontalPodAutoscaler":
        for metric in spec["metrics"]:
            name = metric["pods"]["metric"]["name"]
            want(f"| `{name}` |" in metrics, f"/metrics has no {name}")
    if kind == "Service":
        want(spec["selector"] == {"app.kubernetes.io/name": "gimbal"}, "every variant's pods")
    pod = spec["template"]["spec"] if kind == "Deployment" else spec
    if kind == "Deployment":
        want(pod.get("terminationGracePeriodSeconds") == 30, "30 s to end")
        want(spec["selector"]["matchLabels"].items() <=
             spec["template"]["metadata"]["labels"].items(), "it selects its own pods")
    for container in pod.get("containers", []):
        security = pod.get("securityContext", {}) | container.get("securityContext", {})
        want(security.get("readOnlyRootFilesystem") is True, "a root that is read-only")
        want(security.get("allowPrivilegeEscalation") is False, "no new privileges")
        want(security.get("runAsNonRoot") is True, "not as root")
        want(security.get("capabilities") == {"drop": ["ALL"]}, "no capabilities")
        want(security.get("seccompProfile") == {"type": "RuntimeDefault"}, "the default seccomp")
        for probe, path in [("startup", "/ping"), ("readiness", "/ping"), ("liveness", "/livez")]:
            asked = container.get(f"{probe}Probe", {}).get("httpGet", {})
            want(asked.get("path") == path, f"{probe} by {path}")
            ports = [port.get("name", port["containerPort"]) for port in container["ports"]]
            want(asked.get("port") in ports, f"{probe} by a port that is there")
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        want(mounted == {volume["name"] for volume in pod["volumes"]}, "every volume is mounted")
    return problems


def check(kserve, resource, metrics, versions):
    """All that is wrong with a resource; what its schema refuses is not looked at further."""
    is_kserve = resource["apiVersion"].startswith("serving.kserve.io/")
    by = functools.partial(by_kserve, kserve) if is_kserve else by_kubernetes
    problems = by(resource, versions)
    return problems or promises(resource, metrics)


def broken(resource):
    """The resource with each of its keys misspelt, and each of its values made a list of lists."""
    def places(value, path=()):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield path + (key,)
            if isinstance(inner, (dict, list)):
                yield from places(inner, path + (key,))

    # Maps of free names: a misspelt one is another name.
    free = {"labels", "matchLabels", "annotations", "limits", "requests", "metadata"}
    for path in places(resource):
        for how in ("key", "value"):
            changed = copy.deepcopy(resource)
            at = changed
            for step in path[:-1]:
                at = at[step]
            if how == "value":
                at[path[-1]] = [[]]
            elif isinstance(at, dict) and not (set(path[:-1]) & free):
                at[f"{path[-1]}X"] = at.pop(path[-1])
            else:
                continue
            yield ".".join(map(str, path)), how, changed


def main():
    metrics = pathlib.Path(sys.argv[1]).read_text()
    kserve = Kserve()
    problems, seen = [], 0
    for name in sys.argv[2:]:
        for resource in yaml.safe_load_all(pathlib.Path(name).read_text()):
            found = check(kserve, resource, metrics, (VERSIONS[0], VERSIONS[-1]))
            problems += [f"{name}: {problem}" for problem in found]
            for path, how, changed in broken(resource):
                try:
                    found = check(kserve, changed, metrics, VERSIONS[-1:])
                except (KeyError, TypeError, AttributeError, ValueError) as error:
                    found = [repr(error)]
                seen += 1
                if not found:
                    problems.append(f"{name}: {path} with another {how} is not seen")
    print(f"{len(sys.argv) - 2} files, {seen} ways to break them, {len(problems)} problems")
    sys.exit("\n".join(problems) or 0)


main()
