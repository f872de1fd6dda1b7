"""`AdapterSite`: one place for an adapter."""

from dataclasses import dataclass, field

from hyperformer_cli.backbones.family import Stack


@dataclass(frozen=True, order=True)
class AdapterSite:
    """One place for an adapter. Two are equal if stack, layer and position are.

    Attributes:
        stack: `encoder` or `decoder`.
        layer: from 0.
        position: `self_attention` or `feed_forward`; for forms that adapt linear maps, the map's path in the layer.
        input_width: size of the last dimension of what the adapted module reads.
        output_width: size of the last dimension of what it returns.
    """

    stack: Stack
    layer: int
    position: str
    input_width: int = field(default=0, compare=False, repr=False)
    output_width: int = field(default=0, compare=False, repr=False)

    @property
    def path(self) -> str:
        """`encoder.0.self_attention`, as files name it."""
        return f"{self.stack}.{self.layer}.{self.position}"
