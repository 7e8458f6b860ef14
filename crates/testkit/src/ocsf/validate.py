"""Validates records of OCSF, one a line on standard input, against the schema of the package ocsf-json-schema.

Prints one JSON object: how many records of which class were read, and the first faults. A record is judged by its
class with the profiles that it names itself.
"""

import json
import sys

import jsonschema_rs
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

VERSION = "1.8.0"
FAULTS_MAX = 20

schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(VERSION))
validators = {}
classes = {}
faults = []
count = 0


def validator(record):
    profiles = tuple(record.get("metadata", {}).get("profiles", []))
    key = (record["class_uid"], profiles)
    if key not in validators:
        name = schema.lookup_class_name_from_uid(key[0])
        validators[key] = jsonschema_rs.validator_for(schema.get_class_schema(name, list(profiles)))
    return validators[key]


for number, line in enumerate(sys.stdin):
    record = json.loads(line)
    count += 1
    uid = str(record["class_uid"])
    classes[uid] = classes.get(uid, 0) + 1
    if record["metadata"]["version"] != VERSION:
        faults.append(f"{number}: version {record['metadata']['version']}")
    valid = validator(record)
    if not valid.is_valid(record):
        error = next(iter(valid.iter_errors(record)))
        place = "/".join(str(part) for part in error.instance_path)
        faults.append(f"{number}: class {uid}: {place}: {error.message[:300]}")

print(json.dumps({"count": count, "classes": classes, "invalid": len(faults), "faults": faults[:FAULTS_MAX]}))
