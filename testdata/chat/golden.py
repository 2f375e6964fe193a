"""Makes cases.json and golden.json.gz: what transformers' apply_chat_template gives for templates/*.jinja. See README.md."""

import datetime
import glob
import gzip
import json
import os

import transformers.utils.chat_template_utils as chat

HERE = os.path.dirname(os.path.abspath(__file__))


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 7, 9, 5, 3)


chat.datetime = Clock

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather <b>&</b> 'more' \"q\" für",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "City"},
                    "days": {"type": "integer", "default": 3},
                    "units": {"type": "string", "enum": ["c", "f"]},
                    "deep": {"type": "array", "items": {"type": "number"}},
                },
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "noop", "description": "does nothing", "parameters": {"type": "object", "properties": {}}}},
]
GEN = {"add_generation_prompt": True}


def user(c):
    return {"role": "user", "content": c}


def bot(c, **more):
    return {"role": "assistant", "content": c, **more}


def system(c):
    return {"role": "system", "content": c}


def call(name, arguments, id="abcdefghi"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


ARGUMENTS = {"city": "Ülm", "days": 2, "f": 1.5, "b": True, "n": None, "l": [1, "x"], "o": {}}
CASES = {
    "user": ([user("Hello")], {}),
    "prompt": ([user("Hello")], GEN),
    "system": ([system("Be brief."), user("Hi there")], GEN),
    "turns": ([user("Hi"), bot("Hello!"), user("  How are you? \n"), bot("\nFine.  "), user("Bye")], GEN),
    "system and turns": ([system(" You are X.\n"), user("Hi"), bot("Hello!"), user("Bye"), bot("cu")], {}),
    "empty": ([system(""), user(""), bot(""), user("")], GEN),
    "unicode": ([system("Ünï ☃ 😀"), user("日本語 \u00a0x\u2003y\u00a0 <&>'\""), bot("✓ é"), user("ß\r\nz")], GEN),
    "parts": ([user([{"type": "text", "text": "What is"}, {"type": "text", "text": " this?"}])], GEN),
    "image": ([user([{"type": "image"}, {"type": "text", "text": "Describe"}])], GEN),
    "continue": ([user("Hi"), bot("Sure, here is")], {"continue_final_message": True}),
    "continue space": ([user("Hi"), bot("Sure, \n")], {"continue_final_message": True}),
    "continue parts": ([user("Hi"), bot([{"type": "text", "text": "a"}, {"type": "text", "text": "b "}])], {"continue_final_message": True}),
    "continue user": ([user("Hi there")], {"continue_final_message": True}),
    "thought": ([user("Hi"), bot("<think>\nhm\n</think>\n\nOk"), user("And?"), bot("<think>x</think>y")], GEN),
    "no thinking": ([user("Hi")], {**GEN, "enable_thinking": False, "thinking": False}),
    "thinking": ([system("sys /no_think"), user("Hi"), bot("ok", reasoning_content="because"), user("2")], {**GEN, "enable_thinking": True, "thinking": True}),
    "thinking field": ([user("q"), bot("r", thinking="tt"), user("z")], GEN),
    "two users": ([user("a"), user("b")], {}),
    "assistant first": ([bot("a"), user("b")], {}),
    "role": ([{"role": "narrator", "content": "x"}], {}),
    "late system": ([user("a"), system("late"), user("b")], {}),
    "no content": ([{"role": "user"}], {}),
    "null": ([{"role": "user", "content": None}, bot("x")], {}),
    "number": ([user(5)], {}),
    "tools": ([system("S"), user("Weather in Ulm?")], {**GEN, "tools": TOOLS}),
    "tools alone": ([user("Weather in Ulm?")], {**GEN, "tools": TOOLS}),
    "call": (
        [user("Weather?"), bot("", tool_calls=[call("get_weather", ARGUMENTS)]), {"role": "tool", "name": "get_weather", "content": '{"t": 21}', "tool_call_id": "abcdefghi"}, bot("21"), user("thx")],
        {**GEN, "tools": TOOLS},
    ),
    "calls": (
        [
            user("W?"),
            {"role": "assistant", "tool_calls": [call("f", '{"a": 1}'), call("g", {"q": "x"}, "abcdefghj")]},
            {"role": "tool", "content": "r1", "tool_call_id": "abcdefghi", "name": "f"},
            {"role": "tool", "content": [{"type": "text", "text": "r2"}], "tool_call_id": "abcdefghj", "name": "g"},
        ],
        {**GEN, "tools": TOOLS},
    ),
    "documents": ([user("q?")], {**GEN, "documents": [{"title": "T", "text": "body", "doc_id": 1}, {"title": "U", "text": "x"}]}),
    "date": ([user("q?")], {**GEN, "date_string": "1 Apr 2025"}),
}


def render(template, messages, options):
    try:
        messages = chat._normalize_chat_messages(messages)
        out = chat.render_jinja_template([messages], chat_template=template, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", **options)
        return {"out": out[0][0]}
    except Exception as e:
        return {"error": f"{type(e).__name__}: {e}"[:200]}


if __name__ == "__main__":
    golden = {}
    for file in sorted(glob.glob(os.path.join(HERE, "templates", "*.jinja"))):
        with open(file, encoding="utf-8") as f:
            template = f.read()
        golden[os.path.basename(file)] = {name: render(template, *case) for name, case in CASES.items()}
    with open(os.path.join(HERE, "cases.json"), "w", encoding="utf-8") as f:
        json.dump([{"name": n, "messages": m, "options": o} for n, (m, o) in CASES.items()], f, ensure_ascii=False, indent=1)
    with gzip.GzipFile(os.path.join(HERE, "golden.json.gz"), "wb", mtime=0) as f:
        f.write(json.dumps(golden, ensure_ascii=False).encode())
    results = [r for case in golden.values() for r in case.values()]
    print(len(golden), "templates,", sum("out" in r for r in results), "texts,", sum("error" in r for r in results), "errors")
