"""Handing a filled volume from the staging claim to the serving claim, and to the reclaim claim.

Reserving is one patch of the volume, fenced by its resourceVersion and by the uid of the claim
that holds it: whoever comes late changes nothing. claimRef then names the new claim without a uid,
so that in between nobody else can bind the volume and its provisioner does not reclaim it.
"""

from typing import Any

from gkm.api import names
from gkm.api.errors import Retry
from gkm.core.actions import Reserve
from gkm.core.objects import claim_ref

Json = dict[str, Any]


def reservation(volume: Json, wish: Reserve) -> Json:
    """Build the merge patch that reserves ``volume`` (as just read) for the serving claim.

    A volume that a provisioner made is told to go with its claim; one that GKM made stays, because
    GKM itself empties it, and one that an administrator made is the administrator's.

    Raises:
        Retry: the volume is no longer bound to the staging claim, or is on its way out.

    """
    meta, spec = volume["metadata"], volume["spec"]
    phase = (volume.get("status") or {}).get("phase")
    if phase != "Bound" or "deletionTimestamp" in meta:
        raise Retry("VolumeMoved", f"volume {meta['name']} is {phase}, expected Bound")
    holder = spec.get("claimRef") or {}
    if holder.get("uid") != wish.staging_uid:
        raise Retry(
            "VolumeMoved",
            f"volume {meta['name']} is held by {holder.get('namespace')}/{holder.get('name')}, "
            "not by the staging claim that was filled",
        )
    patch: Json = {
        "metadata": {
            "resourceVersion": meta["resourceVersion"],
            "labels": wish.labels,
            "annotations": wish.annotations,
        },
        "spec": {
            "claimRef": claim_ref(wish.namespace, wish.serving),
            "accessModes": list(wish.access_modes),
        },
    }
    if provisioned(volume):
        patch["spec"]["persistentVolumeReclaimPolicy"] = "Delete"
    return patch


def provisioned(volume: Json) -> bool:
    """Whether a provisioner made this volume: only it can, and will, delete what is on it."""
    return names.ANNOTATION_PROVISIONER in (volume["metadata"].get("annotations") or {})
