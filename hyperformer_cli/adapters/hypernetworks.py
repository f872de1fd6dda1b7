"""Parameter-efficient Multi-task Fine-tuning for Transformers via Shared Hypernetworks (Mahabadi et al., ACL 2021).

https://aclanthology.org/2021.acl-long.47

One vector per task; linear heads turn it into the adapter tensors of every site (Sections 2.2 to 2.4). The three
published variants are one computation. They differ in which sites share a set of heads, and so in what the heads must
be told besides the task:

    method                      one set of heads for every   heads read
    hyperformer                 site                         h(z_task), or z_task itself
    hyperformer-shared-layers   stack and position           LN(h'(z_task, l_layer))
    hyperformer++               stack                        LN(h'(z_task, l_layer, p_position))

Sites whose tensors differ in shape, or that the adapter form keeps apart, never share heads; they are different
`TensorGroup`s.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hyperformer_cli.adapters.banks import grow, put, select_tasks, shared_by_tasks, shrink
from hyperformer_cli.adapters.forms.form import INITIAL_STD, TensorSpec
from hyperformer_cli.adapters.sites import AdapterSite
from hyperformer_cli.adapters.tensor_groups import Stacked, TensorGroup
from hyperformer_cli.config.adapter import AdapterConfig

EMBEDDING_NORM_EPSILON = 1e-6


class HypernetworkBank(nn.Module):
    """Adapters generated from task embeddings; see `banks` for what a bank is."""

    def __init__(self, config: AdapterConfig, groups: Sequence[TensorGroup]):
        super().__init__()
        sizes = config.embedding_sizes
        self.task_embedding = nn.Parameter(torch.randn(len(config.tasks), sizes.task))
        self.task_projector = (
            Projector(sizes.task, sizes.hidden, sizes.projected, config.projector_init)
            if config.project_task_embedding
            else nn.Identity()
        )
        stacks = dict.fromkeys(group.stack for group in groups)
        self.stacks = nn.ModuleDict(
            {stack: StackHypernetwork(config, [group for group in groups if group.stack == stack]) for stack in stacks}
        )

    def forward(self, tasks: Sequence[int]) -> Stacked:
        embedded = self.task_projector(select_tasks(self.task_embedding, tasks, dim=0))
        return {key: tensor for stack in self.stacks.values() for key, tensor in stack(embedded).items()}

    def add_task(self, init_from: int | None) -> None:
        """Appends a task: its embedding a copy of another's, or drawn from N(0, 1)."""
        fresh = torch.randn_like(self.task_embedding[:1])
        self.task_embedding = grow(self.task_embedding, 0, init_from, fresh)

    def remove_task(self, task: int) -> None:
        """Drops a task's embedding."""
        self.task_embedding = shrink(self.task_embedding, 0, task)


class StackHypernetwork(nn.Module):
    """The heads of one stack: all its sites for a set of tasks, one batched computation per tensor group."""

    def __init__(self, config: AdapterConfig, groups: Sequence[TensorGroup]):
        super().__init__()
        self.groups, self.sites = list(groups), list(dict.fromkeys(site for group in groups for site in group.sites))
        self.site_embedding = None if config.method == "hyperformer" else SiteEmbedding(config, self.sites)
        for number, group in enumerate(groups):
            if len(group.sites) < len(self.sites):
                rows = torch.tensor([self.sites.index(site) for site in group.sites])
                self.register_buffer(f"rows_{number}", rows, persistent=False)
            if group.spec.generated:
                sets = _sets_of_heads(config.method, group.sites)
                put(self, group.parameter, GroupedLinear(sets, config.embedding_sizes.projected, group.spec))
            else:
                put(self, group.parameter, nn.Parameter(group.spec.start((len(group.sites), *group.spec.shape))))

    def forward(self, tasks: Tensor) -> Stacked:
        """(tasks, t) -> for each group (sites, tasks, *shape)."""
        count = len(tasks)
        embedded = tasks.expand(len(self.sites), -1, -1) if self.site_embedding is None else self.site_embedding(tasks)
        return {group.key: self._of_group(i, group, embedded, count) for i, group in enumerate(self.groups)}

    def _of_group(self, number: int, group: TensorGroup, embedded: Tensor, tasks: int) -> Tensor:
        if not group.spec.generated:
            return shared_by_tasks(self.get_parameter(group.parameter), tasks)
        if len(group.sites) < len(self.sites):
            embedded = embedded[self.get_buffer(f"rows_{number}")]
        head = self.get_submodule(group.parameter)
        assert isinstance(head, GroupedLinear)
        # Sites that share a set of heads lie together.
        generated = head(embedded.reshape(head.sets, -1, embedded.shape[-1]))
        return generated.reshape(len(group.sites), tasks, *group.spec.shape)


def _sets_of_heads(method: str, sites: Sequence[AdapterSite]) -> int:
    """How many sets of heads these sites have between them, each for as many consecutive sites."""
    if method == "hyperformer":
        return len(sites)
    sets = 1 if method == "hyperformer++" else len({site.position for site in sites})
    if len(sites) % sets:
        raise ValueError(f"{len(sites)} sites do not divide over {sets} positions")
    return sets


class SiteEmbedding(nn.Module):
    """What shared heads read: LN_t(h'(concat(z_task, l_layer[, p_position]))), one vector per site and task."""

    def __init__(self, config: AdapterConfig, sites: Sequence[AdapterSite]):
        super().__init__()
        sizes, by_position = config.embedding_sizes, config.method == "hyperformer++"
        positions = sorted({site.position for site in sites})  # feed_forward 0, self_attention 1, as in the reference
        self.layer_embedding = nn.Embedding(1 + max(site.layer for site in sites), sizes.task)
        self.position_embedding = nn.Embedding(len(positions), sizes.task) if by_position else None
        self.projector = Projector(
            (3 if by_position else 2) * sizes.task, sizes.hidden, sizes.projected, config.projector_init
        )
        self.norm = nn.LayerNorm(sizes.projected, eps=EMBEDDING_NORM_EPSILON)
        self.register_buffer("layer_ids", torch.tensor([site.layer for site in sites]), persistent=False)
        position_ids = torch.tensor([positions.index(site.position) for site in sites])
        self.register_buffer("position_ids", position_ids, persistent=False)

    def forward(self, tasks: Tensor) -> Tensor:
        """(tasks, z's size) -> (sites, tasks, t)."""
        site_parts = self.layer_embedding(self.layer_ids)
        if self.position_embedding is not None:
            site_parts = torch.cat([site_parts, self.position_embedding(self.position_ids)], dim=-1)
        site_parts = site_parts.unsqueeze(1).expand(-1, len(tasks), -1)
        task_parts = tasks.expand(len(site_parts), -1, -1)
        return self.norm(self.projector(torch.cat([task_parts, site_parts], dim=-1)))


class Projector(nn.Sequential):
    """Two linears with a ReLU between them: the paper's h_I and h'_I."""

    def __init__(self, inputs: int, hidden: int, outputs: int, init: str | None = "paper"):
        linears = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
        super().__init__(linears[0], nn.ReLU(), linears[1])
        for linear in linears:
            if init == "kaiming":
                nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            else:
                nn.init.normal_(linear.weight, std=INITIAL_STD)
            nn.init.zeros_(linear.bias)


class GroupedLinear(nn.Module):
    """`sets` linear heads of one shape in one tensor: (sets, n, inputs) -> (sets, n, outputs)."""

    def __init__(self, sets: int, inputs: int, spec: TensorSpec):
        super().__init__()
        self.sets, outputs = sets, math.prod(spec.shape)
        self.weight = nn.Parameter(torch.empty(sets, outputs, inputs))
        self.bias = nn.Parameter(spec.head_bias((sets, outputs)))
        nn.init.normal_(self.weight, std=spec.head_std)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.baddbmm(self.bias.unsqueeze(1), inputs, self.weight.transpose(1, 2))
