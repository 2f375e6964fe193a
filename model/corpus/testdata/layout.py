"""Adds to testdata/layout.json what the Python package datasets finds in each folder: {split: files} of the config that is meant.

Made with Python 3.11.7, datasets 5.2.0: python layout.py
"""

import json
import os
import tempfile

import yaml
from datasets.data_files import DataFilesDict, get_data_patterns, sanitize_patterns


def found(folder, below, patterns):
    data = DataFilesDict.from_patterns(patterns, base_path=below)
    return {str(split): sorted(os.path.relpath(name, folder) for name in names) for split, names in data.items()}


def find(folder, case):
    configs = (yaml.safe_load(case.get("card", "")) or {}).get("configs")
    if not configs:
        return found(folder, folder, get_data_patterns(folder))
    name = case.get("want", "").split(":")[0]
    chosen = [c for c in configs if c["config_name"] == name] or [c for c in configs if c.get("default") or c["config_name"] == "default"]
    if not chosen and len(configs) == 1:
        chosen = configs
    config = chosen[0]
    below = os.path.join(folder, config.get("data_dir", ""))
    return found(folder, below, sanitize_patterns(config["data_files"]) if "data_files" in config else get_data_patterns(below))


def main():
    os.chdir(os.path.dirname(os.path.abspath(__file__)))
    with open("layout.json", encoding="utf-8") as f:
        cases = json.load(f)
    for case in cases:
        case.pop("datasets", None)
        if case["result"].startswith("!"):
            continue
        with tempfile.TemporaryDirectory() as folder:
            for name in case["files"].split():
                os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
                open(os.path.join(folder, name), "w").close()
            try:
                case["datasets"] = find(folder, case)
            except (IndexError, FileNotFoundError) as e:
                print(case["files"], repr(e)[:100])
    with open("layout.json", "w", encoding="utf-8") as f:
        json.dump(cases, f, indent=1, ensure_ascii=False)
        f.write("\n")


main()
