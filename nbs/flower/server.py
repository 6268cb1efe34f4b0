"Average what clients learned: python server.py START CLIENTS ROUNDS; writes model.safetensors after each round"
import sys

import flwr
import torch
from safetensors.torch import load_file, save_file

from mlops_kit.examples.digits import DigitNet

start, clients, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
names = list(DigitNet().state_dict())


class Kept(flwr.server.strategy.FedAvg):
    def aggregate_fit(self, server_round, results, failures):
        "What the step `join` does"
        mean, metrics = super().aggregate_fit(server_round, results, failures)
        if mean:
            arrays = flwr.common.parameters_to_ndarrays(mean)
            save_file({name: torch.tensor(array) for name, array in zip(names, arrays)}, "model.safetensors")
        return mean, metrics


weights = load_file(start)
strategy = Kept(
    min_fit_clients=clients, min_available_clients=clients, fraction_evaluate=0.0,
    on_fit_config_fn=lambda number: {"round": number},
    initial_parameters=flwr.common.ndarrays_to_parameters([weights[name].numpy() for name in names]),
)
config = flwr.server.ServerConfig(num_rounds=rounds)
flwr.server.start_server(server_address="127.0.0.1:8080", config=config, strategy=strategy)
