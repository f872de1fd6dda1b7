"""Parameter-efficient Multi-task Fine-tuning for Transformers via Shared Hypernetworks (Mahabadi et al., ACL 2021).

https://aclanthology.org/2021.acl-long.47

One vector a task; linear heads turn it into the adapter and layer-norm weights of every site (Sections 2.2 to 2.4).
The three published variants are one computation. They differ in which sites share a set of heads, and so in what the
heads must be told besides the task:

    method                      one set of heads for every   heads read
    hyperformer                 site                         h(z_task), or z_task itself
    hyperformer-shared-layers   stack and position           LN(h'(z_task, l_layer))
    hyperformer++               stack                        LN(h'(z_task, l_layer, p_position))
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hyperformer_cli.adapters.banks import INITIAL_STD, SharedNorm, grow, select_tasks, shrink
from hyperformer_cli.adapters.sites import STACKS, AdapterSite, Stack
from hyperformer_cli.adapters.weights import AdapterWeights, Norm
from hyperformer_cli.config.adapter import AdapterConfig

EMBEDDING_NORM_EPSILON = 1e-6
POSITION_IDS = {"feed_forward": 0, "self_attention": 1}  # as in the reference's checkpoints


class HypernetworkBank(nn.Module):
    """Adapters generated from task embeddings; see `banks` for what a bank is."""

    def __init__(self, config: AdapterConfig, sites: Sequence[AdapterSite], hidden: int, bottleneck: int):
        super().__init__()
        self.task_embedding = nn.Parameter(torch.randn(len(config.tasks), config.task_embedding_dim))
        self.task_projector = (
            Projector(config.task_embedding_dim, config.projector_hidden_dim, config.projected_task_embedding_dim)
            if config.project_task_embedding
            else nn.Identity()
        )
        self.stacks = nn.ModuleDict(
            {
                stack: StackHypernetwork(config, [site for site in sites if site.stack == stack], hidden, bottleneck)
                for stack in STACKS
            }
        )

    def forward(self, tasks: Sequence[int]) -> dict[Stack, AdapterWeights]:
        embedded = self.task_projector(select_tasks(self.task_embedding, tasks, dim=0))
        return {stack: hypernetwork(embedded) for stack, hypernetwork in self.stacks.items()}

    def add_task(self, init_from: int | None) -> None:
        """Appends a task: its embedding a copy of another's, or drawn from N(0, 1)."""
        fresh = torch.randn_like(self.task_embedding[:1])
        self.task_embedding = grow(self.task_embedding, 0, init_from, fresh)

    def remove_task(self, task: int) -> None:
        """Drops a task's embedding."""
        self.task_embedding = shrink(self.task_embedding, 0, task)


class StackHypernetwork(nn.Module):
    """The heads of one stack: all its sites for a set of tasks in one batched computation."""

    def __init__(self, config: AdapterConfig, sites: list[AdapterSite], hidden: int, bottleneck: int):
        super().__init__()
        self.sites, self.hidden, self.bottleneck = len(sites), hidden, bottleneck
        self.groups = {"hyperformer": len(sites), "hyperformer-shared-layers": 2, "hyperformer++": 1}[config.method]
        self.site_embedding = None if config.method == "hyperformer" else SiteEmbedding(config, sites)

        def head(outputs: int) -> GroupedLinear:
            return GroupedLinear(self.groups, config.projected_task_embedding_dim, outputs)

        def norm(wanted: bool) -> nn.Module | None:
            if not wanted:
                return None
            if not config.conditional_layer_norm:
                return SharedNorm(len(sites), hidden)
            return nn.ModuleDict({"scale": head(hidden), "shift": head(hidden)})

        self.down_weight, self.down_bias = head(bottleneck * hidden), head(bottleneck)
        self.up_weight, self.up_bias = head(hidden * bottleneck), head(hidden)
        self.pre_norm, self.post_norm = norm(config.layer_norm_before), norm(config.layer_norm_after)

    def forward(self, tasks: Tensor) -> AdapterWeights:
        """(tasks, t) -> weights with leading dimensions (sites, tasks)."""
        count = len(tasks)
        embedded = tasks.expand(self.sites, -1, -1) if self.site_embedding is None else self.site_embedding(tasks)
        grouped = embedded.reshape(self.groups, -1, embedded.shape[-1])  # sites that share heads lie together

        def generate(head: GroupedLinear, *shape: int) -> Tensor:
            return head(grouped).reshape(self.sites, count, *shape)

        def norm(heads: nn.Module | None) -> Norm | None:
            if heads is None or isinstance(heads, SharedNorm):
                return heads and heads(count)
            return generate(heads["scale"], self.hidden), generate(heads["shift"], self.hidden)

        return AdapterWeights(
            generate(self.down_weight, self.bottleneck, self.hidden),
            generate(self.down_bias, self.bottleneck),
            generate(self.up_weight, self.hidden, self.bottleneck),
            generate(self.up_bias, self.hidden),
            norm(self.pre_norm),
            norm(self.post_norm),
        )


class SiteEmbedding(nn.Module):
    """What shared heads read: LN_t(h'(concat(z_task, l_layer[, p_position]))), one vector a site and task."""

    def __init__(self, config: AdapterConfig, sites: list[AdapterSite]):
        super().__init__()
        size, projected_size = config.task_embedding_dim, config.projected_task_embedding_dim
        by_position = config.method == "hyperformer++"
        self.layer_embedding = nn.Embedding(1 + max(site.layer for site in sites), size)
        self.position_embedding = nn.Embedding(len(POSITION_IDS), size) if by_position else None
        self.projector = Projector((3 if by_position else 2) * size, config.projector_hidden_dim, projected_size)
        self.norm = nn.LayerNorm(projected_size, eps=EMBEDDING_NORM_EPSILON)
        self.register_buffer("layer_ids", torch.tensor([site.layer for site in sites]), persistent=False)
        positions = torch.tensor([POSITION_IDS[site.position] for site in sites])
        self.register_buffer("position_ids", positions, persistent=False)

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

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
        for linear in (self[0], self[2]):
            nn.init.normal_(linear.weight, std=INITIAL_STD)
            nn.init.zeros_(linear.bias)


class GroupedLinear(nn.Module):
    """`groups` linears of one shape in one tensor: (groups, n, inputs) -> (groups, n, outputs)."""

    def __init__(self, groups: int, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(groups, outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(groups, outputs))
        nn.init.normal_(self.weight, std=INITIAL_STD)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.baddbmm(self.bias.unsqueeze(1), inputs, self.weight.transpose(1, 2))
