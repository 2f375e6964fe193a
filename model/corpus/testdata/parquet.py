"""Writes testdata/parquet/*.parquet and rows.json: one table in every compression, encoding, version of pages and pattern of nulls.

Made with Python 3.11.7, pyarrow 26.0.1: python parquet.py
"""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 48
NULLS = {"none": lambda i: False, "some": lambda i: i % 3 == 1, "runs": lambda i: i // 9 % 2 == 0, "all": lambda i: True}
WORDS = ["", "a", "ab", "abc", "abcd", "zwölf", "zwölf Boxkämpfer", "b" * 20]

VALUES = {
    "text": (pa.string(), lambda i: WORDS[i * 7 % len(WORDS)] + str(i % 5) * (i % 2)),
    "large": (pa.large_string(), lambda i: "large" + WORDS[i % len(WORDS)]),
    "int": (pa.int64(), lambda i: (-1) ** i * i**9 if i % 8 else (2**63 - 1) * (-1) ** (i // 8)),
    "small": (pa.int32(), lambda i: (-1) ** i * i**3 if i % 8 else (2**31 - 1) * (-1) ** (i // 8)),
    "double": (pa.float64(), lambda i: (i - 20) / 64),
    "float": (pa.float32(), lambda i: (i - 20) / 8),
    "flag": (pa.bool_(), lambda i: i % 5 < 2),
    "list": (pa.list_(pa.string()), lambda i: [f"w{k}" for k in range(i % 4)]),
}
ENCODINGS = {
    "text": ["PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY", "dict"],
    "large": ["DELTA_BYTE_ARRAY"],
    "int": ["PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT", "dict"],
    "small": ["PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"],
    "double": ["PLAIN", "BYTE_STREAM_SPLIT"],
    "float": ["PLAIN", "BYTE_STREAM_SPLIT"],
    "flag": ["PLAIN", "RLE"],
    "list": ["DELTA_BYTE_ARRAY"],
}


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "parquet"))
    fields, encodings, dictionary = {}, {}, []
    for kind, (dtype, value) in VALUES.items():
        for encoding in ENCODINGS[kind]:
            # Patterns of nulls are the levels' concern: all of them for one encoding of each kind, the common two for the others.
            for nulls in NULLS if encoding == ENCODINGS[kind][-1] else ["some"]:
                name = f"{kind}_{encoding.lower()}_{nulls}"
                fields[name] = pa.array([None if NULLS[nulls](i) else value(i) for i in range(ROWS)], dtype)
                column = name + ".list.element" if kind == "list" else name
                if encoding == "dict":
                    dictionary.append(column)
                else:
                    encodings[column] = encoding
    table = pa.table(fields)
    with open("rows.json", "w", encoding="utf-8") as f:
        json.dump(table.to_pydict(), f, ensure_ascii=False, separators=(",", ":"))
    for codec, versions in {"none": ["1.0", "2.0"], "snappy": ["1.0"], "gzip": ["2.0"], "brotli": ["1.0"], "lz4": ["2.0"], "zstd": ["2.0"]}.items():
        for version in versions:
            with pq.ParquetWriter(
                f"{codec}-v{version[0]}.parquet", table.schema, compression=codec, data_page_version=version, use_dictionary=dictionary,
                column_encoding=encodings, write_statistics=False, store_schema=False, data_page_size=64, write_batch_size=16,
            ) as w:
                w.write_table(table.slice(0, 0), row_group_size=8)
                w.write_table(table.slice(0, 30))
                w.write_table(table.slice(0, 0))
                w.write_table(table.slice(30))
            got = pq.ParquetFile(f"{codec}-v{version[0]}.parquet")
            assert got.read().to_pylist() == table.to_pylist(), codec
            print(codec, version, got.num_row_groups, [got.metadata.row_group(g).num_rows for g in range(got.num_row_groups)])


main()
