"""The patch network that was tried beside the trees (docs/rejector.md): a small net shared by all rays, then pooled.

Needs torch; nothing of it runs in the program.
"""

# ruff: noqa: PLR0913

from __future__ import annotations

import numpy as np
import torch
from patches import SHELLS, directions
from torch import nn

NEIGHBOUR_DEG = {False: 40, True: 30}
OPPOSITE_DEG = {False: 50, True: 35}


class RayNetwork(nn.Module):
    """Every ray sees itself, the mean of its neighbours and the brightest of its opposites; then mean and maximum."""

    def __init__(self, thick: bool, scalars: int = 8, width: int = 32) -> None:
        super().__init__()
        way = directions(thick)
        cosine = way @ way.T
        near = (cosine > np.cos(np.radians(NEIGHBOUR_DEG[thick]))) & (cosine < 0.999)
        opposite = cosine < -np.cos(np.radians(OPPOSITE_DEG[thick]))
        most = opposite.sum(1).max()
        self.near = torch.tensor(near / near.sum(1, keepdims=True), dtype=torch.float32)
        self.opposite = torch.tensor(np.stack([np.resize(np.flatnonzero(row), most) for row in opposite]))
        n = len(SHELLS)
        self.first = nn.Linear(n * (5 if thick else 3), width)
        self.second = nn.Linear(width, width)
        self.third = nn.Linear(2 * width + scalars, width)
        self.last = nn.Linear(width, 1)

    def forward(self, rays: torch.Tensor, scalars: torch.Tensor) -> torch.Tensor:
        own = rays[..., : len(SHELLS)]
        around = torch.einsum("de,nes->nds", self.near, own)
        x = torch.cat([rays, around, own[:, self.opposite].amax(2)], -1)
        x = torch.relu(self.second(torch.relu(self.first(x))))
        pooled = torch.cat([x.mean(1), x.amax(1), scalars], -1)
        return self.last(torch.relu(self.third(pooled)))[:, 0]


def trained(rays, scalars, y, weight, *, thick: bool, seed: int = 0, epochs: int = 12) -> tuple:
    """Network, mean and spread of the scalars."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = RayNetwork(thick, scalars.shape[1])
    mean, spread = scalars.mean(0), scalars.std(0) + 1e-3
    x, t = torch.tensor(rays), torch.tensor(((scalars - mean) / spread).astype(np.float32))
    y, w = torch.tensor(y.astype(np.float32)), torch.tensor(weight.astype(np.float32))
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-3)
    order, batch, n = np.arange(len(y)), 512, len(SHELLS)
    steps = epochs * (len(y) // batch + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps + 1, pct_start=0.15)
    for _ in range(epochs):
        rng.shuffle(order)
        for i in range(0, len(order), batch):
            some = torch.tensor(order[i : i + batch])
            part = x[some].float()
            part = part + 0.05 * torch.randn_like(part) * torch.rand(len(some), 1, 1)
            extra = t[some]
            if thick and rng.random() < 0.5:  # above and below change places
                part = torch.cat([part[..., :n], part[..., 2 * n :], part[..., n : 2 * n]], -1)
                extra = extra[:, [0, 1, 2, 3, 4, 5, 7, 6]]
            loss = nn.functional.binary_cross_entropy_with_logits(net(part, extra), y[some], weight=w[some])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return net, mean, spread


def log_odds(net, mean, spread, rays, scalars) -> np.ndarray:
    with torch.no_grad():
        parts = [
            net(
                torch.tensor(rays[i : i + 4096]).float(),
                torch.tensor(((scalars[i : i + 4096] - mean) / spread).astype(np.float32)),
            )
            for i in range(0, len(rays), 4096)
        ]
    return torch.cat(parts).numpy()
