"""Owns the messages of the Open Inference Protocol over gRPC, described as its `.proto` does; it knows no tensor.

They are made while the program runs, in a pool of their own: generated code would be bound to one version of
protobuf, and would fight with a client's in the same process over the names.
Source: https://github.com/kserve/open-inference-protocol, `grpc_predict_v2.proto`, and Triton's `grpc_service.proto`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _Field.TYPE_BOOL,
    "bytes": _Field.TYPE_BYTES,
    "double": _Field.TYPE_DOUBLE,
    "float": _Field.TYPE_FLOAT,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
}
_ONE_OF = "one of "
_REPEATED = "repeated "
_MAP = "map of "  # its keys are text

# Each message: its fields in the order of their numbers, which begin at 1.
_TENSOR = {"name": "string", "datatype": "string", "shape": "repeated int64"}
_TENSOR_WITH_DATA = {**_TENSOR, "parameters": "map of InferParameter", "contents": "InferTensorContents"}
_NAMED = {"name": "string", "version": "string"}
MESSAGES: Mapping[str, Mapping[str, str]] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": "bool"},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": "bool"},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {**_NAMED, "extensions": "repeated string"},
    "ModelReadyRequest": _NAMED,
    "ModelReadyResponse": {"ready": "bool"},
    "ModelMetadataRequest": _NAMED,
    "TensorMetadata": _TENSOR,
    "ModelMetadataResponse": {
        "name": "string",
        "versions": "repeated string",
        "platform": "string",
        "inputs": "repeated TensorMetadata",
        "outputs": "repeated TensorMetadata",
    },
    "InferParameter": {
        "bool_param": "one of bool",
        "int64_param": "one of int64",
        "string_param": "one of string",
        "double_param": "one of double",
        "uint64_param": "one of uint64",
    },
    "InferTensorContents": {
        "bool_contents": "repeated bool",
        "int_contents": "repeated int32",
        "int64_contents": "repeated int64",
        "uint_contents": "repeated uint32",
        "uint64_contents": "repeated uint64",
        "fp32_contents": "repeated float",
        "fp64_contents": "repeated double",
        "bytes_contents": "repeated bytes",
    },
    "InferInputTensor": _TENSOR_WITH_DATA,
    "InferOutputTensor": _TENSOR_WITH_DATA,
    "InferRequestedOutputTensor": {"name": "string", "parameters": "map of InferParameter"},
    "ModelInferRequest": {
        "model_name": "string",
        "model_version": "string",
        "id": "string",
        "parameters": "map of InferParameter",
        "inputs": "repeated InferInputTensor",
        "outputs": "repeated InferRequestedOutputTensor",
        "raw_input_contents": "repeated bytes",
    },
    "ModelInferResponse": {
        "model_name": "string",
        "model_version": "string",
        "id": "string",
        "parameters": "map of InferParameter",
        "outputs": "repeated InferOutputTensor",
        "raw_output_contents": "repeated bytes",
    },
}


def _describe(name: str, fields: Mapping[str, str]) -> descriptor_pb2.DescriptorProto:
    described = descriptor_pb2.DescriptorProto(name=name)
    if any(kind.startswith(_ONE_OF) for kind in fields.values()):
        described.oneof_decl.add(name="parameter_choice")
    for number, (field, kind) in enumerate(fields.items(), start=1):
        added = described.field.add(name=field, number=number, label=_Field.LABEL_OPTIONAL)
        if kind.startswith(_ONE_OF):
            added.oneof_index = 0
        elif kind.startswith((_REPEATED, _MAP)):
            added.label = _Field.LABEL_REPEATED
        if kind.startswith(_MAP):
            kind = _describe_entry(described, name, field, kind.removeprefix(_MAP))
        _type(added, kind.removeprefix(_ONE_OF).removeprefix(_REPEATED))
    return described


def _describe_entry(described: descriptor_pb2.DescriptorProto, message: str, field: str, kind: str) -> str:
    """A map is a repeated message of a key and a value, nested where it is used."""
    entry = described.nested_type.add(name=f"{field.capitalize()}Entry")
    entry.options.map_entry = True
    _type(entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL), "string")
    _type(entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), kind)
    return f"{message}.{entry.name}"


def _type(field: descriptor_pb2.FieldDescriptorProto, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="rayloop/open_inference.proto", package=PACKAGE, syntax="proto3")
    file.message_type.extend(_describe(name, fields) for name, fields in MESSAGES.items())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"{PACKAGE}.{name}") for name in MESSAGES}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}


_CLASSES = _classes()
ServerLiveResponse = _CLASSES["ServerLiveResponse"]
ServerReadyResponse = _CLASSES["ServerReadyResponse"]
ServerMetadataResponse = _CLASSES["ServerMetadataResponse"]
ModelReadyResponse = _CLASSES["ModelReadyResponse"]
ModelMetadataResponse = _CLASSES["ModelMetadataResponse"]
ModelInferRequest = _CLASSES["ModelInferRequest"]
ModelInferResponse = _CLASSES["ModelInferResponse"]


def message(name: str, /, **fields: Any) -> Any:
    """Make a message by its name, for whoever asks and not only answers."""
    return _CLASSES[name](**fields)
