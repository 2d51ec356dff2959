"""The codec's configuration is found beside its weights, or nowhere."""

from pathlib import Path

from fishdvc.base.folder import codec_config_beside


def test_the_json_of_the_same_name_is_the_codec_s(tmp_path: Path) -> None:
    checkpoint = tmp_path / "firefly-1.5-21hz.pth"
    (tmp_path / "config.json").touch()
    assert codec_config_beside(checkpoint) is None
    config = tmp_path / "firefly-1.5-21hz.json"
    config.touch()
    assert codec_config_beside(checkpoint) == config
