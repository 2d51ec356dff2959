"""The data report: find what may harm training in the measures of clips, and say what to do."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import Field

from fishdvc.corpus.findings import DataReport, DataWarning, SpeakerSummary
from fishdvc.corpus.histograms import histograms
from fishdvc.corpus.measured import MeasuredClip, compare_rates
from fishdvc.corpus.numbers import duration
from fishdvc.corpus.repetitions import find_near_copies, find_repeated_texts
from fishdvc.text.clean import clean_text
from fishdvc.text.prompt import generation_prompt
from fishdvc.text.tokenizer import Tokenizer
from fishdvc.validation import Checked

FRAMES_PER_S = 44_100 / 2_048
"""Frame rate of the published codec."""
WARNINGS = {
    "unusable": (
        "Clips that normalize cannot use.",
        "Correct them, or set dataset.on_bad_clip: skip to leave them out.",
    ),
    "little_data": (
        "Speakers with little speech.",
        "Record more of them; training hardly learns a voice from less.",
    ),
    "speaking_rate": (
        "Clips that are spoken much faster or slower than usual for their speaker.",
        "Listen and compare with the transcript, which is often that of another clip.",
    ),
    "clipping": (
        "Clips whose recording is clipped.",
        "Record them again at a lower gain, or remove them.",
    ),
    "bandwidth": (
        "Clips without high frequencies, such as telephone recordings, or without speech.",
        "Use the original recording, or remove them: the voice would learn the muffled sound.",
    ),
    "edge_silence": (
        "Clips that begin or end with silence.",
        "Cut it off: the voice would learn to pause there.",
    ),
    "pause": (
        "Clips with a long pause inside.",
        "Split them there, or shorten the pause.",
    ),
    "quiet": (
        "Clips that stay below the target loudness, because a short peak is at the ceiling.",
        "Remove the click or the bump from the recording, or remove the clip.",
    ),
    "copies": (
        "Clips with the same recording.",
        "Keep one; a copy in training of a held-out clip makes the validation look too good.",
    ),
    "repeated_text": (
        "Transcripts that are equal except for case and punctuation.",
        "Keep one of each, unless the sentence was recorded again on purpose.",
    ),
    "too_long": (
        "Clips longer than train_lora.max_length, which are not trained on.",
        "Split them at pauses, or increase train_lora.max_length.",
    ),
    "split_characters": (
        "Transcripts with many characters that the tokenizer of the base splits into bytes.",
        "Write them in the letters of a language that the base knows.",
    ),
}
"""Message and advice of each kind of warning, the most important first."""


class CheckParams(Checked):
    """Section ``check`` of params.yaml: a clip is named in the report beyond these values."""

    min_speaker_minutes: float = Field(
        ge=0, description="Least amount of speech of a speaker, in minutes."
    )
    min_bandwidth_hz: float = Field(
        ge=0, description="Lowest frequency up to which a clip must have sound, in Hz."
    )
    max_clipped_percent: float = Field(
        ge=0, le=100, description="Highest share of clipped samples, in percent."
    )
    max_edge_silence_s: float = Field(
        ge=0, description="Longest silence at the start or the end, in seconds."
    )
    max_pause_s: float = Field(ge=0, description="Longest silence inside a clip, in seconds.")
    max_loudness_below_target_lu: float = Field(
        ge=0, description="How far the peak ceiling may keep a clip below the target, in LU."
    )
    max_speaking_rate_deviations: float = Field(
        gt=0,
        description="Largest distance of the log speaking rate from the speaker's median, in "
        "robust standard deviations.",
    )
    max_copy_distance_db: float = Field(
        ge=0, description="Clips whose fingerprints differ by less are copies, in dB."
    )
    max_split_characters_percent: float = Field(
        ge=0,
        le=100,
        description="Highest share of characters that the tokenizer splits into bytes, in percent.",
    )


@dataclass(frozen=True, kw_only=True)
class Target:
    """What the stages make of a clip.

    Attributes:
        loudness_lufs: Loudness after the stage ``normalize``, unless the ceiling limits it.
        peak_ceiling_dbfs: Highest peak after the stage ``normalize``.
        max_length: Longest clip that is trained on, in tokens.
        tokenizer: Tokenizer of the base. None: characters are not checked, and the tokens of
            transcripts are not counted.
    """

    loudness_lufs: float
    peak_ceiling_dbfs: float
    max_length: int
    tokenizer: Tokenizer | None


def build_report(
    clips: Sequence[MeasuredClip], unusable: Sequence[str], params: CheckParams, target: Target
) -> DataReport:
    """Compare the measures of all usable clips with the thresholds.

    The warning ``unusable`` lists the lines of ``unusable``.
    """
    by_speaker = defaultdict[str, list[MeasuredClip]](list)
    for clip in clips:
        by_speaker[clip.clip.speaker].append(clip)
    speakers = [
        SpeakerSummary(
            name=name, num_clips=len(group), duration_s=sum(c.audio.duration_s for c in group)
        )
        for name, group in sorted(by_speaker.items())
    ]
    files = defaultdict[str, list[str]](list, unusable=list(unusable))
    for speaker in speakers:
        if speaker.duration_s / 60 < params.min_speaker_minutes:
            files["little_data"].append(f"{speaker.name}: {duration(speaker.duration_s)}")
    for clip in clips:
        for kind, value in (*_audio_findings(clip, params), *_token_findings(clip, params, target)):
            files[kind].append(f"{clip.clip.audio}: {value}")
    normalized_lufs = [_normalized_lufs(clip, target) for clip in clips]
    for clip, lufs in zip(clips, normalized_lufs, strict=True):
        if (below_lu := target.loudness_lufs - lufs) > params.max_loudness_below_target_lu:
            files["quiet"].append(f"{clip.clip.audio}: {below_lu:.1f} LU below the target")
    for group in by_speaker.values():
        files["speaking_rate"] += _rate_outliers(group, params.max_speaking_rate_deviations)
    copies = list(find_near_copies(clips, max_distance_db=params.max_copy_distance_db))
    files["copies"] += [
        f"{one.clip.audio} = {other.clip.audio}: {distance_db:.1f} dB apart"
        for one, other, distance_db in copies
    ]
    copied = {other.clip.name for _, other, _ in copies}
    files["repeated_text"] += [
        f"{' = '.join(str(clip.clip.audio) for clip in group)}: {group[0].text.strip()}"
        for group in find_repeated_texts([clip for clip in clips if clip.clip.name not in copied])
    ]
    return DataReport(
        speakers=tuple(speakers),
        histograms=histograms(clips, normalized_lufs) if clips else (),
        warnings=tuple(
            DataWarning(kind=kind, message=message, advice=advice, files=tuple(files[kind]))
            for kind, (message, advice) in WARNINGS.items()
            if files[kind]
        ),
    )


def _audio_findings(clip: MeasuredClip, params: CheckParams) -> Iterator[tuple[str, str]]:
    """Yield the kind of warning and the measured value."""
    audio = clip.audio
    if (percent := 100 * audio.clipped_share) > params.max_clipped_percent:
        yield "clipping", f"{percent:.2f} % of the samples"
    if audio.bandwidth_hz < params.min_bandwidth_hz:
        yield (
            "bandwidth",
            f"sound up to {audio.bandwidth_hz:,.0f} Hz, in a file of {audio.sample_rate_hz:,} Hz",
        )
    if max(audio.start_silence_s, audio.end_silence_s) > params.max_edge_silence_s:
        yield (
            "edge_silence",
            f"{audio.start_silence_s:.1f} s at the start, {audio.end_silence_s:.1f} s at the end",
        )
    if audio.longest_pause_s > params.max_pause_s:
        yield "pause", f"{audio.longest_pause_s:.1f} s"


def _token_findings(
    clip: MeasuredClip, params: CheckParams, target: Target
) -> Iterator[tuple[str, str]]:
    num_tokens = round(clip.audio.duration_s * FRAMES_PER_S)
    if tokenizer := target.tokenizer:
        num_tokens += generation_prompt(tokenizer, clip.text, num_codebooks=1).shape[1]
        characters = "".join(clean_text(clip.text).split())
        split = {char for char in characters if len(tokenizer.encode_plain(char)) > 1}
        percent = 100 * sum(char in split for char in characters) / len(characters)
        if percent > params.max_split_characters_percent:
            yield "split_characters", f"{percent:.0f} %: {' '.join(sorted(split))}"
    if num_tokens > target.max_length:
        yield "too_long", f"about {num_tokens} tokens, {clip.audio.duration_s:.1f} s"


def _normalized_lufs(clip: MeasuredClip, target: Target) -> float:
    headroom_db = target.peak_ceiling_dbfs - clip.audio.peak_dbfs
    return min(target.loudness_lufs, clip.audio.loudness_lufs + headroom_db)


def _rate_outliers(clips: Sequence[MeasuredClip], max_deviations: float) -> Iterator[str]:
    ratios, deviations = compare_rates([clip.letters_per_s for clip in clips])
    for clip, ratio, deviation in zip(clips, ratios, deviations, strict=True):
        if abs(deviation) > max_deviations:
            yield (
                f"{clip.clip.audio}: {ratio:.2f} times the usual rate, "
                f"{clip.audio.duration_s:.1f} s: {clip.text.strip()}"
            )
