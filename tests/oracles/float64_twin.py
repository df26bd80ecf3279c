"""What recorded quantities are compared with: a small network's weights, kept in float64."""

import torch
from torch import nn


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def update(model, optimizer):
    loss = model(torch.randn(5, 6)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def doubles(model):
    return [p.detach().double().clone() for p in model.parameters()]


def norms(left, right=None):
    return [float((a.double() - (0 if right is None else right[k])).norm()) for k, a in enumerate(left)]
