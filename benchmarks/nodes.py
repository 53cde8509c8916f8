"""`python -m benchmarks.nodes`: a Ray cluster of two nodes on this machine, on loopback.

Prints the cluster's address, and then does what it is told, a word a line: `leave` (the second node's
processes end at once), `join` (another takes its place). It ends the cluster with its input.
"""

from __future__ import annotations

import sys
from typing import Any

import psutil

SIZE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


def main() -> None:
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster(
        initialize_head=True, head_node_args={**SIZE, "include_dashboard": False}
    )
    second = cluster.add_node(**SIZE)
    cluster.wait_for_nodes()
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "leave":
            workers = [one for info in second.all_processes["raylet"]
                       for one in psutil.Process(info.process.pid).children(recursive=True)]  # fmt: skip
            cluster.remove_node(second, allow_graceful=False)
            for one in workers:
                if one.is_running():
                    one.kill()
        else:
            second = cluster.add_node(**SIZE)
            cluster.wait_for_nodes()
        print("done", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
