"""Compiles a small model for the CPU and says what torch found in ``$TORCHINDUCTOR_CACHE_DIR``."""

import json
import time

import torch
from torch._dynamo.utils import counters


class Small(torch.nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(8, 16)
        self.second = torch.nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.second(torch.relu(self.first(x))) * 2 + 1, dim=-1)


started = time.perf_counter()
with torch.no_grad():
    model = torch.compile(Small())
    model(torch.ones(3, 8))
found = {name: count for name, count in counters["inductor"].items() if "fxgraph" in name}
found |= {name: count for name, count in counters["aot_autograd"].items() if "cache" in name}
seconds = round(time.perf_counter() - started, 2)
print(json.dumps({**found, "seconds": seconds, "torch": torch.__version__}))
