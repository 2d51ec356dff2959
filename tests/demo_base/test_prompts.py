from demo_base.prompts import spoken_texts


def test_only_lines_with_a_spoken_text_are_taken() -> None:
    lines = ["; remarks: none", "", "beep: [a tone]", "silence/1:", "digits/1: one", "name:  a: b "]
    assert spoken_texts(lines) == [("digits/1", "one"), ("name", "a: b")]
