"""The codec's config lies beside its weights."""

from pathlib import Path

from fishdvc.base.folder import codec_config_beside


def test_the_codec_s_config_is_the_json_of_the_same_name(tmp_path: Path) -> None:
    checkpoint = tmp_path / "firefly-1.5-21hz.pth"
    (tmp_path / "config.json").touch()
    assert codec_config_beside(checkpoint) is None
    config = tmp_path / "firefly-1.5-21hz.json"
    config.touch()
    assert codec_config_beside(checkpoint) == config
