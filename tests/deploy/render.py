"""Reads the manifests that a kustomization names, checks each against the
published schema of its kind, and prints everything as JSON.

    python3 render.py FOLDER VERSION

FOLDER holds kustomization.yaml; VERSION is a minor one of Kubernetes. A
manifest of a kind that the schemas do not know is a problem, and so is a field
that a kind does not have.
"""

import functools
import json
import pathlib
import sys

import fastjsonschema
from ruamel.yaml import YAML

# Found, not imported: the package's code wants more packages.
SCHEMAS = pathlib.Path(fastjsonschema.__file__).parent.parent / "kubernetes_validate/kubernetes-json-schema"


@functools.cache
def schema(path):
    return json.loads(path.read_text())


@functools.cache
def check_of(folder, kind, api):
    """The compiled schema of a kind; its references stay in its folder."""
    group, _, version = api.rpartition("/")
    parts = [kind.lower(), *([group.split(".")[0]] if group else []), version]
    path = folder / ("-".join(parts) + ".json")
    if not path.exists():
        return None
    # What a schema refers to stands beside it, whatever host its name says.
    here = {"https": lambda uri: schema(folder / uri.split("#")[0].rpartition("/")[2])}
    return fastjsonschema.compile(
        schema(path), handlers=here, use_formats=False, detailed_exceptions=False
    )


def problem(folder, name, manifest):
    kind, api = manifest.get("kind", ""), manifest.get("apiVersion", "")
    check = check_of(folder, kind, api)
    if check is None:
        return f"{name}: {api} {kind} is no kind of Kubernetes"
    try:
        check(manifest)
    except fastjsonschema.JsonSchemaException as wrong:
        return f"{name}: {kind}: {wrong.message}"
    return None


def main(base, version):
    base, yaml = pathlib.Path(base), YAML(typ="safe", pure=True)
    folders = SCHEMAS.glob(f"v{version}.*-local-strict")
    folder = next(iter(folders))
    kustomization = yaml.load((base / "kustomization.yaml").read_text())
    manifests, problems = [], []
    for name in kustomization["resources"]:
        for manifest in yaml.load_all((base / name).read_text()):
            manifests.append(manifest)
            wrong = problem(folder, name, manifest)
            if wrong:
                problems.append(wrong)
    print(json.dumps({"kustomization": kustomization, "manifests": manifests, "problems": problems}))


main(*sys.argv[1:])
