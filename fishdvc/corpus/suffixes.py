"""Suffixes of audio files, in lower case."""

from fishdvc.audio.waveform import AUDIO_SUFFIXES

# fmt: off
_MEDIA_SUFFIXES = frozenset({
    ".3g2", ".3ga", ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".alac", ".amr", ".ape",
    ".asf", ".au", ".avi", ".bwf", ".caf", ".dff", ".dsf", ".dss", ".dts", ".eac3", ".flac", ".flv",
    ".gsm", ".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpc", ".mpeg",
    ".mpg", ".mpga", ".nist", ".oga", ".ogg", ".oma", ".opus", ".pcm", ".qcp", ".ra", ".raw",
    ".rf64", ".rm", ".sd2", ".snd", ".sph", ".spx", ".tta", ".voc", ".vox", ".w64", ".wav", ".wave",
    ".weba", ".webm", ".wma", ".wmv", ".wv",
})
# fmt: on

READABLE = frozenset(AUDIO_SUFFIXES)
"""A file with one of these is the audio of a clip."""
UNREADABLE = _MEDIA_SUFFIXES - READABLE
"""A file with one of these is reported, because it is audio or video that cannot be read."""
