"""How registries are reached: what Jobs are handed, and which certificates are none."""

from pathlib import Path

import pytest

from gkm.api.errors import Rejected
from gkm.oci.settings import RegistrySettings
from tests.certificates import issue


def test_settings_survive_their_json_in_one_line(tmp_path: Path) -> None:
    authority = issue(tmp_path, "127.0.0.1").ca_pem
    bundle = f"# Autorité\n{authority}\n# the same again\n{authority}"
    settings = RegistrySettings(frozenset({"a:1", "b"}), bundle)
    assert RegistrySettings.from_json(settings.to_json()) == settings
    assert "\n" not in settings.to_json()
    assert RegistrySettings.from_json("") == RegistrySettings()


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"plainHttp": 1}', '{"caBundle": "none"}', '{"caBundle": " "}']
)
def test_what_is_no_setting_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match=r"GKM_REGISTRY|caBundle") as caught:
        RegistrySettings.from_json(text)
    assert caught.value.reason == "BadSettings"


def test_a_key_is_no_certificate_and_is_not_repeated(tmp_path: Path) -> None:
    key = issue(tmp_path, "127.0.0.1").key.read_text()
    with pytest.raises(Rejected, match="caBundle") as caught:
        RegistrySettings(ca_bundle=key)
    assert key.splitlines()[1] not in caught.value.message
