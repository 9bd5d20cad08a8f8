"""The Kubernetes manifests as kustomize renders them, and what the published schemas object to in one."""

import functools
import importlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate
from pydantic import ValidationError
from ruamel.yaml import YAML

from tests.support.system import PROJECT

KUBERNETES = PROJECT / "deploy" / "kubernetes"
OLDEST, NEWEST = "1.29", "1.37"
_MODELS = {
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
}
"""Resources of others that a package carries models of, made from their published schemas."""

Manifest = dict[str, Any]


@functools.cache
def rendered(folder: str) -> tuple[Manifest, ...]:
    """Every manifest of a kustomization, as `kubectl apply -k` would send it."""
    kubectl = Path(sys.executable).with_name("kubectl")
    text = subprocess.run(
        [kubectl, "kustomize", KUBERNETES / folder], capture_output=True, text=True, timeout=30, check=False
    )
    assert text.returncode == 0, text.stderr
    assert text.stderr == ""
    return tuple(YAML(typ="safe").load_all(text.stdout))


def named(manifest: Mapping[str, Any]) -> str:
    """What a manifest is called in a test's name."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def objection(manifest: Manifest) -> str | None:
    """What the schema of its kind says against a manifest, fields it does not know included; None for nothing."""
    if manifest["apiVersion"] in _MODELS:
        return _model_objection(manifest)
    for version in (OLDEST, NEWEST):
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except jsonschema.ValidationError as error:
            return f"Kubernetes {version}: {error.json_path}: {error.message}"
    return None


def _model_objection(manifest: Manifest) -> str | None:
    model = getattr(importlib.import_module(_MODELS[manifest["apiVersion"]]), manifest["kind"])
    try:
        read = model.model_validate(manifest)
    except ValidationError as error:
        return str(error)
    known = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return None if known == manifest else f"fields are unknown: {known} is left of {manifest}"
