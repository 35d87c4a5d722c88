#!/usr/bin/env python3
"""scripts/pickle-to-safetensors on files as torch.save writes them (both of its formats), and on hostile ones: the
tensors come out as they went in, and nothing that a file names is called. Usage: check_pickle.py SCRIPT"""
import collections
import json
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import types
import zipfile

script = sys.argv[1]
torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
sys.modules.update({"torch": torch, "torch._utils": utils})


def rebuild(*args):
    pass


rebuild.__module__, rebuild.__name__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2", "_rebuild_tensor_v2"
utils._rebuild_tensor_v2 = rebuild
for kind in ("HalfStorage", "FloatStorage"):
    setattr(torch, kind, type(kind, (), {"__module__": "torch"}))


class Storage:
    def __init__(self, kind, key, data):
        self.kind, self.key, self.data, self.item = kind, key, data, {"HalfStorage": 2, "FloatStorage": 4}[kind]


class Tensor:
    def __init__(self, storage, offset, shape, stride):
        self.arguments = storage, offset, shape, stride, False, collections.OrderedDict()

    def __reduce__(self):
        return rebuild, self.arguments


class ParameterDict:
    """As torch pickles it: an object whose state holds its tensors in _parameters."""

    def __init__(self, parameters):
        self._parameters = parameters


container = types.ModuleType("torch.nn.modules.container")
ParameterDict.__module__ = ParameterDict.__module__ = container.__name__
container.ParameterDict = ParameterDict
sys.modules[container.__name__] = container


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if isinstance(value, Storage):
            return "storage", getattr(torch, value.kind), value.key, "cpu", len(value.data) // value.item
        return None


def dump(file, value):
    Pickler(file, 2).dump(value)


def save_zip(path, value, storages):
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("archive/data.pkl", "w") as file:
            dump(file, value)
        for storage in storages:
            archive.writestr(f"archive/data/{storage.key}", storage.data)


def save_legacy(path, value, storages):
    with open(path, "wb") as file:
        for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, value, [s.key for s in storages]):
            dump(file, part)
        for storage in storages:
            file.write(struct.pack("<q", len(storage.data) // storage.item) + storage.data)


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    return {n: (t["dtype"], t["shape"], data[8 + length + t["data_offsets"][0]:8 + length + t["data_offsets"][1]])
            for n, t in header.items()}


def convert(path):
    return subprocess.run([sys.executable, script, path, path + ".safetensors"], capture_output=True, text=True)


with tempfile.TemporaryDirectory(prefix="hep-pickle-") as folder:
    mark = os.path.join(folder, "called")
    half, full = Storage("HalfStorage", "0", bytes(range(24))), Storage("FloatStorage", "1", bytes(range(100, 116)))
    state = {"a.weight": Tensor(half, 2, (2, 3), (3, 1)), "turned": Tensor(full, 0, (2, 2), (1, 2))}
    expected = {"a.weight": ("F16", [2, 3], bytes(range(4, 16))),
                "turned": ("F32", [2, 2], b"".join(full.data[4 * i:4 * i + 4] for i in (0, 2, 1, 3)))}
    for name, save in ("zip", save_zip), ("legacy", save_legacy):
        for wrapped in state, {"state_dict": state, "epoch": 5, "callback": Evil(mark)}, {"params_ema": state}:
            path = os.path.join(folder, name)
            save(path, wrapped, [half, full])
            result = convert(path)
            assert result.returncode == 0, result.stderr
            assert read(path + ".safetensors") == expected, name
    for vectors in {"*": state["turned"]}, ParameterDict({"*": state["turned"]}):
        save_zip(path, {"string_to_param": vectors}, [full])
        assert convert(path).returncode == 0 and list(read(path + ".safetensors")) == ["emb_params"]

    hostile = {"leaves": {"a": Tensor(half, 6, (2, 6), (6, 1))}, "negative": {"a": Tensor(half, -1, (2,), (1,))},
               "endless": {"a": Tensor(half, 0, (1 << 40,), (0,))}, "nothing": {"a": Evil(mark)},
               "strange": {"a": Tensor(half, 0, "xy", None)}, "call": Evil(mark)}
    for name, value in hostile.items():
        save_zip(path, value, [half, full])
        result = convert(path)
        assert result.returncode == 1 and result.stderr.startswith("pickle-to-safetensors: "), (name, result)
    for text in b"", b"PK\3\4", pickle.dumps(Evil(mark)), b"\x80\x02" + b"c__builtin__\neval\n(S'1'\ntR.":
        with open(path, "wb") as file:
            file.write(text)
        assert convert(path).returncode == 1, text
    assert not os.path.exists(mark), "a file's code ran"
print("pickles: as they went in, and nothing was called")
