"""Groups of adapter tensors: those of one name and shape at many sites, which banks keep in one tensor.

One group is one parameter of a stored bank, or one set of heads of a hypernetwork. For bottlenecks every tensor's name
is one group per stack; for adapters of linear maps, one per map and shape.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from hyperformer_cli.adapters.forms import Form, TensorSpec
from hyperformer_cli.adapters.sites import AdapterSite
from hyperformer_cli.backbones.family import Stack


@dataclass(frozen=True)
class TensorGroup:
    """Tensors that are stored or generated together.

    Attributes:
        stack: whose sites they belong to.
        name: the tensor's, in the form's list.
        spec: what is the same for all of them.
        sites: in the order of the leading dimension.
        parameter: the name of the parameter, or of the heads, within the stack's module.
    """

    stack: Stack
    name: str
    spec: TensorSpec
    sites: tuple[AdapterSite, ...]
    parameter: str

    @property
    def key(self) -> str:
        """What a bank calls the group's tensor: `encoder.down_weight`."""
        return f"{self.stack}.{self.parameter}"


Stacked = dict[str, Tensor]  # by `TensorGroup.key`: (sites of the group, tasks, *shape)


def group_tensors(form: Form, sites: Sequence[AdapterSite]) -> list[TensorGroup]:
    """The groups of a form's tensors at these sites: stack by stack, within a stack in the form's order."""
    found: dict[tuple, list[AdapterSite]] = {}
    specs: dict[tuple, TensorSpec] = {}
    shapes: dict[tuple, set[tuple[int, ...]]] = {}
    for site in sites:
        for name, spec in form.tensors(site).items():
            key = site.stack, name, form.head_group(site), spec.shape
            found.setdefault(key, []).append(site)
            specs.setdefault(key, spec)
            shapes.setdefault(key[:3], set()).add(spec.shape)
    groups = []
    for (stack, name, head_group, shape), members in found.items():
        parts = [specs[stack, name, head_group, shape].parameter or name, head_group.replace(".", "_")]
        if len(shapes[stack, name, head_group]) > 1:
            parts.append("x".join(map(str, shape)))
        parameter = ".".join(filter(None, parts))
        groups.append(TensorGroup(stack, name, specs[stack, name, head_group, shape], tuple(members), parameter))
    return groups


def by_site(stacked: Mapping[str, Tensor], groups: Sequence[TensorGroup]) -> dict[AdapterSite, dict[str, Tensor]]:
    """Splits what a bank returned: for each site its tensors by name, (tasks, *shape), or (*shape) for a single task.

    One operation per tensor, whose backward is one `stack`.
    """
    found: dict[AdapterSite, dict[str, Tensor]] = {site: {} for group in groups for site in group.sites}
    for group in groups:
        tensor = stacked[group.key]
        tensor = tensor.squeeze(1) if tensor.shape[1] == 1 else tensor
        for site, own in zip(group.sites, tensor.unbind(), strict=True):
            found[site][group.name] = own
    return found
