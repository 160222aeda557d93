"""The JSON Schema of ``params.yaml``, by which editors check it, complete keys and show what they mean."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from tasks.params.loading import NETWORK_NAME, STRATEGY_NAME, Params
from tasks.params.meanings import meanings, purpose, sections

DRAFT = "http://json-schema.org/draft-07/schema#"  # which editors know best


class _Draft7(GenerateJsonSchema):
    """Without titles, which repeat the names; tuples in the words of draft 7; no names but those of the pattern."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False

    def tuple_schema(self, schema: core_schema.TupleSchema) -> JsonSchemaValue:
        written = super().tuple_schema(schema)
        if "prefixItems" in written:
            written["items"] = written.pop("prefixItems")
        return written

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        written = super().dict_schema(schema)
        if "patternProperties" in written:
            written["additionalProperties"] = False
        return written


def schema_of_params() -> dict[str, Any]:
    """Return the JSON Schema of what may be written in ``params.yaml``."""
    schema = Params.model_json_schema(ref_template="#/definitions/{model}", schema_generator=_Draft7)
    definitions = schema.pop("$defs")
    for section in sections(Params):
        described = schema if section is Params else definitions[section.__name__]
        described["description"] = purpose(section)
        described.pop("title")
        for key, meaning in meanings(section).items():
            described["properties"][key]["description"] = meaning
        for written in described["properties"].values():
            if "$ref" in written:  # whose keys have defaults of their own
                written.pop("default", None)
    for key, name in (("strategies", STRATEGY_NAME), ("backbones", NETWORK_NAME)):
        schema["properties"][key]["propertyNames"] = {"pattern": f"^{name.pattern}$"}
    return {"$schema": DRAFT, "title": "params.yaml of Thawline", **schema, "definitions": definitions}
