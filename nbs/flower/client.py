"One owner: python client.py, in the folder that holds the owner's train.safetensors and valid.safetensors"
import flwr
import torch

from mlops_kit.examples.digits import DigitData, DigitNet, load_images
from mlops_kit.training import fit

class Client(flwr.client.NumPyClient):
    def fit(self, weights, config):
        "What the step `local` does"
        net = DigitNet(lr=5e-3)  # a new one, because the network that `fit` returns has its dropout off
        net.load_state_dict({name: torch.tensor(one) for name, one in zip(net.state_dict(), weights)})
        seed = config["round"]
        data = DigitData("train.safetensors", "valid.safetensors", seed=seed)
        fit(net, data, {"max_epochs": 4, "accelerator": "cpu"}, seed=seed)
        return [one.numpy() for one in net.state_dict().values()], len(load_images("train.safetensors")[0]), {}


flwr.client.start_client(server_address="127.0.0.1:8080", client=Client().to_client())
