"""The reference's translation pairs: free text as target, sacrebleu's BLEU, 300 tokens, 4 beams."""

from hyperformer_cli.data.tasks import CONVERTED, Task

_LANGUAGES = {"cs": "Czech", "en": "English", "fi": "Finnish", "hi": "Hindi", "nl": "Dutch", "ro": "Romanian"}
_MAX_LENGTH, _BEAMS = 300, 4


def _pair(
    name: str, direction: tuple[str, str], path: str, configuration: str, sizes: tuple[int, ...], **options: str
) -> Task:
    source, target = direction
    return Task(
        name=name,
        path=path,
        configuration=configuration,
        template=f"{{translation[{source}]}}",
        target_template=f"{{translation[{target}]}}",
        prefix=f"Translate {_LANGUAGES[source]} to {_LANGUAGES[target]}",
        labels=(),
        metrics=("bleu",),
        split_rule="own",
        sizes=dict(zip(("train", "validation", "test"), sizes, strict=True)),
        max_target_length=_MAX_LENGTH,
        num_beams=_BEAMS,
        **options,
    )


_WMT16_RO, _WMT16_CS, _WMT16_FI = (610320, 1999, 1999), (997240, 2656, 2999), (2073394, 1370, 6000)

_TASKS = (
    _pair("wmt16_ro_en", ("ro", "en"), "wmt/wmt16", "ro-en", _WMT16_RO),
    _pair("wmt16_en_ro", ("en", "ro"), "wmt/wmt16", "ro-en", _WMT16_RO),
    _pair("wmt16_en_cs", ("en", "cs"), "wmt/wmt16", "cs-en", _WMT16_CS),
    _pair("wmt16_en_fi", ("en", "fi"), "wmt/wmt16", "fi-en", _WMT16_FI),
    _pair("wmt14_hi_en", ("en", "hi"), "wmt/wmt14", "hi-en", (32863, 520, 2507)),  # from English, whatever its name
    _pair(
        "iwslt2017_ro_nl", ("ro", "nl"), "IWSLT/iwslt2017", "iwslt2017-ro-nl", (206920, 913, 1680), revision=CONVERTED
    ),
    _pair(
        "iwslt2017_en_nl", ("en", "nl"), "IWSLT/iwslt2017", "iwslt2017-en-nl", (237240, 1003, 1777), revision=CONVERTED
    ),
)

TRANSLATION = {task.name: task for task in _TASKS}
