#!/usr/bin/env python3
"""Records tests/data/grammar.json: grammars with texts that they must let through or refuse.

    hand      cases written down here
    suite     Debian's json-schema-test-suite, draft 7: texts are its instances, verdicts its own
    peer      llguidance: texts are its random walks and small changes to them, verdicts its own

    python3 -m pip install --target P llguidance && apt-get install json-schema-test-suite
    PYTHONPATH=P tests/data/make_grammar.py"""
import glob
import json
import os
import random

import llguidance

HERE = os.path.dirname(os.path.abspath(__file__))
SUITE = "/usr/share/json-schema-test-suite/tests/draft7"
LONG = "a" * 40


def schema(s):
    return {"json_schema": s}


def obj(properties, required=(), **more):
    return schema({"type": "object", "properties": properties, "required": list(required), **more})


HAND = [
    ({"literal": "yes"}, ["yes"], ["", "ye", "yess", "no"]),
    ({"any": [{"literal": "red"}, {"literal": "green"}, {"literal": "re"}]}, ["red", "green", "re"], ["r", "blue", "redgreen"]),
    ({"seq": [{"literal": "<"}, {"regex": "[a-c]{2,3}"}, {"literal": ">"}]}, ["<ab>", "<ccc>"], ["<a>", "<abca>", "ab"]),
    ({"repeat": {"regex": "[0-9]+"}, "min": 1, "max": 3, "between": ", "}, ["1", "12, 3", "1, 2, 3"], ["", "1,2", "1, 2, 3, 4", "1, "]),
    ({"repeat": {"literal": "ab"}, "min": 0}, ["", "ab", "ababab"], ["a", "aba"]),
    ({"regex": "(?:a|b)*c+d?"}, ["c", "abcc", "abacd"], ["", "ab", "cdd"]),
    ({"regex": "[^a-z]"}, ["A", "é", "\U0001f600", "\n"], ["a", "", "AB"]),
    ({"regex": "\\d{4}-\\d{2}"}, ["2024-01"], ["24-01", "2024-1"]),
    ({"regex": "a.c"}, ["abc", "aéc"], ["a\nc", "ac"]),
    ({"regex": "[\\w.]+@x\\.org"}, ["a.b@x.org"], ["a b@x.org", "a@xxorg"]),
    ({"regex": "é{2}|[α-ω]+"}, ["éé", "αβω"], ["é", "a"]),
    ({"regex": "a{0}b"}, ["b"], ["ab"]),
    ({"regex": "|a"}, ["", "a"], ["aa"]),
    ({"regex": "[\\]\\-x-]+"}, ["]-x"], ["\\"]),
    (schema({}), ["null", "-0.5e+3", "[1, {\"a\":[]}]", "\"\\u00e9\\ud83d\\ude00\"", "{ }"],
     ["", "nul", "01", "1.", "[1,]", "{\"a\"}", "\"\\ud83d\"", "\"\\udc00\"", "\"\x01\"", "\"\\x\"", "--1"]),
    (schema({"type": "object"}), ["{}", "{\"a\":1,\"b\":[true]}"], ["[]", "{1:2}", "{\"a\":1,}"]),
    (obj({"a": {"type": "integer"}, "b": {"type": "string"}}, ["a"]),
     ["{\"a\":1}", "{\"a\": -10, \"b\": \"x\"}", "{\n  \"a\": 1,\n  \"b\": \"\",\n  \"c\": null\n}"],
     ["{}", "{\"b\":\"x\",\"a\":1}", "{\"a\":1.5}", "{\"a\":1,\"a\":2}", "{\"a\":1,\"b\":2}"]),
    (obj({"a": {"type": "integer"}}, [], additionalProperties=False), ["{}", "{\"a\":1}"], ["{\"b\":1}", "{\"a\":1,\"b\":1}", "{\"\\u0061\":\"x\"}"]),
    (obj({"ab": {"const": 1}, "ac": {"const": 2}}, [], additionalProperties={"type": "boolean"}),
     ["{\"a\":true}", "{\"ab\":1,\"x\":false}", "{\"abc\":true}", "{\"\":true}", "{\"é\":true}"],
     ["{\"ab\":true}", "{\"ac\":true}", "{\"x\":1}", "{\"\\u0061b\":true}"]),
    (schema({"type": "object", "required": ["z"], "additionalProperties": {"type": "null"}}), ["{\"z\":null}", "{\"z\":null,\"y\":null}"], ["{}", "{\"y\":null}"]),
    (schema({"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3}),
     ["[true]", "[true, false]", "[true,true,true]"], ["[]", "[1]", "[true,true,true,true]"]),
    (schema({"type": "array", "prefixItems": [{"const": "x"}, {"type": "integer"}], "items": False}),
     ["[]", "[\"x\"]", "[\"x\",3]"], ["[3]", "[\"x\",3,4]"]),
    (schema({"items": [{"type": "null"}], "additionalItems": {"type": "integer"}, "type": "array"}), ["[null, 1, 2]", "[]"], ["[1]", "[null,null]"]),
    (schema({"type": "string", "minLength": 2, "maxLength": 3}), ["\"ab\"", "\"é😀x\"", "\"\\n\\u0041\""], ["\"a\"", "\"abcd\"", "ab"]),
    (schema({"type": "string", "pattern": "^[a-z]+\\d$"}), ["\"ab1\""], ["\"ab\"", "\"1\"", "\"ab12\"", "\"Xa1\""]),
    (schema({"type": "string", "pattern": "ab"}), ["\"ab\"", "\"xxabyy\"", "\"\\nab\""], ["\"a\"", "\"ba\""]),
    (schema({"type": "string", "pattern": "^[\"\\\\/\\n]+$"}), ["\"\\\"\\\\/\\n\""], ["\"\"\"", "\"\\\"", "\"x\""]),
    (schema({"type": "string", "pattern": "^$"}), ["\"\""], ["\"a\""]),
    (schema({"type": "string", "format": "date"}), ["\"2024-02-28\"", "\"1999-12-31\""], ["\"2024-02-30\"", "\"2024-13-01\"", "\"24-1-1\"", "\"2023-02-29\""]),
    (schema({"type": "string", "format": "date-time"}), ["\"2024-02-28T10:00:00Z\"", "\"2024-02-28T23:59:59.123+02:00\""], ["\"2024-02-28\"", "\"2024-02-28T24:00:00Z\""]),
    (schema({"type": "string", "format": "uuid"}), ["\"123e4567-e89b-12d3-a456-426614174000\""], ["\"123e4567\""]),
    (schema({"type": "string", "format": "ipv4"}), ["\"1.2.3.255\""], ["\"1.2.3\"", "\"1.2.3.256\"", "\"01.2.3.4\""]),
    (schema({"type": "string", "format": "email"}), ["\"a.b@c.org\""], ["\"a\"", "\"@c\"", "\"a@\""]),
    (schema({"type": "integer", "minimum": 0}), ["0", "7", "1234567"], ["-1", "01", "1.5"]),
    (schema({"type": "integer", "minimum": -5, "maximum": 120}), ["-5", "-1", "0", "99", "100", "120"], ["-6", "121", "200", "1000"]),
    (schema({"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5}), ["4"], ["3", "5", "44"]),
    (schema({"type": "integer", "maximum": -10}), ["-10", "-11", "-100"], ["-9", "0", "10"]),
    (schema({"type": "integer", "minimum": 1.5, "maximum": 3.5}), ["2", "3"], ["1", "4"]),
    (schema({"type": "number", "minimum": 0, "maximum": 1}), ["0", "1", "0.5", "0.999", "1.000", "0.0"], ["1.1", "1.0001", "-0.1", "2", "1e0"]),
    (schema({"type": "number", "exclusiveMinimum": 0, "maximum": 2.5}), ["0.001", "2.5", "2.50", "1", "2.49999"], ["0", "0.0", "2.51", "3", "-1"]),
    (schema({"type": "number", "minimum": -1.25}), ["-1.25", "-1.2", "0", "1000.5", "-0.5"], ["-1.26", "-2", "-10"]),
    (schema({"type": "number", "exclusiveMaximum": 0}), ["-0.5", "-3", "-1000"], ["0", "-0", "-0.0", "1"]),
    (schema({"type": "number", "minimum": 12.5, "maximum": 340}), ["12.5", "13", "340", "339.99", "99.9", "100"], ["12.4", "12", "340.1", "341", "1000", "9"]),
    (schema({"enum": ["a", "ab", 1, None, [1, "x"], {"k": True}]}), ["\"a\"", "\"ab\"", "1", "null", "[1, \"x\"]", "{\"k\":true}"], ["\"b\"", "\"abc\"", "2", "true", "[1]"]),
    (schema({"type": "string", "enum": ["a", 1]}), ["\"a\""], ["1"]),
    (schema({"const": "q\"\n"}), ["\"q\\\"\\n\""], ["\"q\"", "\"q\\\"\""]),
    (schema({"anyOf": [{"type": "integer"}, {"type": "null"}]}), ["3", "null"], ["\"x\"", "nul"]),
    (schema({"anyOf": [{"minimum": 3}, {"maximum": 1}], "type": "integer"}), ["3", "0"], ["2", "\"x\""]),
    (schema({"oneOf": [{"type": "string"}, {"type": "object", "additionalProperties": False}]}), ["\"s\"", "{}"], ["1", "[]"]),
    (schema({"oneOf": [{"type": "object", "properties": {"k": {"const": "a"}, "v": {"type": "integer"}}, "required": ["k", "v"]},
                       {"type": "object", "properties": {"k": {"const": "b"}}, "required": ["k"]}]}),
     ["{\"k\":\"a\",\"v\":1}", "{\"k\":\"b\"}"], ["{\"k\":\"a\"}", "{\"k\":\"c\"}"]),
    (schema({"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
                       {"properties": {"b": {"type": "string"}}, "required": ["b"]}]}),
     ["{\"a\":1,\"b\":\"x\"}"], ["{\"a\":1}", "{\"b\":\"x\"}"]),
    (schema({"allOf": [{"type": "integer", "minimum": 2}, {"maximum": 4}]}), ["2", "4"], ["1", "5"]),
    (schema({"$defs": {"n": {"type": "object", "properties": {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}},
                             "required": ["v", "next"], "additionalProperties": False}}, "$ref": "#/$defs/n"}),
     ["{\"v\":1,\"next\":null}", "{\"v\":1,\"next\":{\"v\":2,\"next\":null}}"], ["{\"v\":1}", "{\"v\":1,\"next\":2}"]),
    (schema({"type": "array", "items": {"$ref": "#"}}), ["[]", "[[],[[]]]"], ["[1]", "{}"]),
    (schema({"$ref": "#/definitions/a~1b%25", "definitions": {"a/b%": {"type": "null"}}}), ["null"], ["1"]),
    (schema({"anyOf": [{"$ref": "#"}, {"type": "string"}]}), ["\"x\""], ["1"]),
    (schema({"type": ["string", "null"], "maxLength": 1}), ["null", "\"a\""], ["\"ab\"", "1"]),
    (schema(True), ["1"], ["x"]),
    (schema({"properties": {"a": False}, "type": "object"}), ["{}", "{\"b\":1}"], ["{\"a\":1}"]),
    (schema({"title": "t", "description": "d", "x-own": [1], "type": "null"}), ["null"], ["1"]),
    ({"without": "<tool_call>"}, ["", "a < b", "<tool_cal", "<tool_<tool_cal>", "<<tool_ca", "é\n\U0001f600"],
     ["<tool_call>", "x<tool_call>", "<<tool_call>y", "<tool_<tool_call>"]),
    ({"without": "aabaaa"}, ["aabaab", "aabaabaa", "aaabaa", "ababaaa"], ["aabaaa", "aaabaaa", "aabaabaaa"]),
    ({"seq": [{"without": "<c>"}, {"repeat": {"seq": [{"literal": "<c>"}, {"regex": "[0-9]+"}, {"literal": "</c>"}, {"without": "<c>"}]},
                                   "min": 0, "max": 2}]},
     ["", "text", "a<c>1</c>", "<c>1</c>\n<c>22</c> b", "</c> < <c>3</c><"], ["<c>", "<c>x</c>", "a<c>1</c><c></c>", "<c>1</c><c>1</c><c>1</c>", "<c>1"]),
]

ERRORS = [
    ("bad_input", [{"json_schema": False}, {}, {"literal": 3}, {"seq": []}, [], 5, {"json_schema": {"type": "hiccup"}},
                   {"json_schema": {"type": 123}}, {"json_schema": {"$ref": "#/nowhere"}}, {"json_schema": {"$ref": "#"}},
                   {"json_schema": {"allOf": [{"type": "string"}, {"type": "integer"}]}}, {"json_schema": {"enum": []}},
                   {"json_schema": {"type": "integer", "minimum": 5, "maximum": 3}}, {"json_schema": {"minLength": -1}},
                   {"json_schema": {"type": "object", "required": ["a"], "additionalProperties": False}},
                   {"json_schema": {"properties": []}}, {"json_schema": {"type": "array", "minItems": 3, "maxItems": 2}},
                   {"json_schema": 5}, {"json_schema": {"anyOf": []}}, {"json_schema": {"pattern": "("}}, {"regex": "a)"}, {"regex": "*"},
                   {"json_schema": {"pattern": "^+[a-z]$"}}, {"json_schema": {"pattern": "^{2}x$"}}, {"regex": "[a"}, {"regex": "a**"}, {"regex": "a{2"}, {"regex": "x{3,2}"}, {"regex": "[z-a]"}, {"regex": "a\\"},
                   {"repeat": {"literal": "a"}, "min": 2, "max": 1}, {"without": ""}, {"without": "x" * 65}, {"regex": "[]"},
                   {"json_schema": {"$defs": {"a": {"type": "object", "properties": {"x": {"$ref": "#/$defs/a"}}, "required": ["x"]}}, "$ref": "#/$defs/a"}}]),
    ("unsupported", [{"json_schema": {"not": {}}}, {"json_schema": {"if": {"type": "string"}}}, {"json_schema": {"type": "number", "multipleOf": 3}},
                     {"json_schema": {"uniqueItems": True}}, {"json_schema": {"patternProperties": {"a": {}}}},
                     {"json_schema": {"format": "color"}}, {"json_schema": {"$ref": "http://x.org/y"}}, {"json_schema": {"$ref": "other.json#/a"}},
                     {"json_schema": {"oneOf": [{"minimum": 1}, {"minimum": 2}]}}, {"json_schema": {"pattern": "a", "maxLength": 4}},
                     {"json_schema": {"pattern": "(?<=x)*"}},
                     {"regex": "(?=a)"}, {"regex": "\\bx"}, {"regex": "(a)\\1"}, {"regex": "\\p{L}"}, {"regex": "(?i)a"}, {"regex": "a(^b)"},
                     {"json_schema": {"properties": {"a": {"$id": "x"}}}}, {"json_schema": {"unevaluatedProperties": False}}]),
    ("exhausted", [{"regex": "(" * 5000}, {"regex": "(" * 2000 + ")" * 2000}, {"regex": "a{2,1000000000}"}, {"regex": "(a{1000}){1000}"},
                   {"json_schema": {"type": "string", "maxLength": 10**9}}, {"json_schema": {"enum": [LONG * 10]}}, {"json_schema": {"enum": list(range(9000))}},
                   {"json_schema": {"type": "array", "items": {}, "minItems": 10**6}}]),
]

PEER = [s[0]["json_schema"] for s in HAND if isinstance(s[0], dict) and isinstance(s[0].get("json_schema"), dict)] + [
    {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
                                      "tags": {"type": "array", "items": {"type": "string", "maxLength": 4}, "maxItems": 3},
                                      "kind": {"enum": ["cat", "dog"]}}, "required": ["name", "age", "kind"], "additionalProperties": False},
    {"type": "array", "items": {"anyOf": [{"type": "number", "minimum": -1, "maximum": 1}, {"type": "string", "pattern": "^[a-f]{2,4}$"}]}, "maxItems": 4},
    {"type": "object", "properties": {"p": {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "boolean"}}, "required": ["x", "y"],
                                            "additionalProperties": False}, "q": {"$ref": "#/properties/p"}}, "required": ["p"], "additionalProperties": False},
]


# What we let through less of, and why: then only refusals are recorded.
STRICTER = {"allOf: allOf": "properties come in the order of the merged schema", "const: const with object": "members come in the order written",
            "ref: ref overrides any sibling keywords": "keywords beside $ref hold, as they do since draft 2019-09",
            "format": "a subset of each format's texts", "const": "one spelling of a string"}


def ordered(data, s):
    """Instances with their properties in the schema's order, and whole floats as integers."""
    if isinstance(data, dict):
        names = list(s.get("properties", {})) if isinstance(s, dict) and isinstance(s.get("properties"), dict) else []
        keys = [k for k in names if k in data] + [k for k in data if k not in names]
        return {k: ordered(data[k], s["properties"][k] if k in names else {}) for k in keys}
    if isinstance(data, list):
        items = s.get("items", {}) if isinstance(s, dict) else {}
        return [ordered(d, items[i] if isinstance(items, list) and i < len(items) else items if isinstance(items, dict) else {}) for i, d in enumerate(data)]
    return int(data) if isinstance(data, float) and data.is_integer() and abs(data) < 1e15 else data


def suite():
    for path in sorted(glob.glob(os.path.join(SUITE, "*.json"))):
        with open(path, encoding="utf-8") as f:
            for group in json.load(f):
                text = {True: [], False: []}
                for t in group["tests"]:
                    one = json.dumps(ordered(t["data"], group["schema"]), ensure_ascii=False)
                    try:
                        one.encode()
                    except UnicodeEncodeError:
                        continue
                    text[t["valid"]].append(one)
                name = f"{os.path.basename(path)[:-5]}: {group['description']}"
                yield {"from": f"suite {name}", "grammar": schema(group["schema"]),
                       "accepts": [] if name in STRICTER else text[True], "refuses": text[False]}


class Peer:
    """llguidance over single bytes."""

    def __init__(self, s):
        self.tokenizer = llguidance.LLTokenizer("byte")
        self.grammar = llguidance.LLMatcher.grammar_from_json_schema(
            s, overrides={"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "})

    def matcher(self):
        m = llguidance.LLMatcher(self.tokenizer, self.grammar, log_level=0)
        return None if m.is_error() else m

    def walk(self, rng):
        """A random text; closes strings and lists early."""
        m, out = self.matcher(), bytearray()
        while len(out) < 400:
            if m.is_accepting() and (m.is_stopped() or rng.random() < 0.4):
                return bytes(out)
            mask = m.compute_bitmask()
            allowed = [i for i in range(256) if mask[i // 8] >> i % 8 & 1]
            if not allowed:
                return bytes(out) if m.is_accepting() else None
            closing = [i for i in allowed if i in b'"]}'] if rng.random() < 0.3 else []
            printable = [i for i in allowed if 32 < i < 127 and i != 92]
            byte = rng.choice(closing or printable or allowed)
            if not m.consume_token(byte):
                return None
            out.append(byte)
        return None

    def accepts(self, text):
        m = self.matcher()
        return all(m.consume_token(b) for b in text) and m.is_accepting()


def change(text, rng):
    out = bytearray(text)
    at = rng.randrange(len(out) + 1)
    kind = rng.randrange(3)
    if kind == 0 and at < len(out):
        del out[at]
    elif kind == 1:
        out.insert(at, rng.choice(b'0129ax"{}[],:-. '))
    elif at < len(out):
        out[at] = rng.choice(b'0129ax"{}[],:-.')
    return bytes(out)


def peer():
    rng = random.Random(7)
    for i, s in enumerate(PEER):
        p = Peer(s)
        if not p.matcher():
            continue
        accepts, refuses = set(), set()
        for _ in range(12):
            text = p.walk(rng)
            if text is None:
                continue
            accepts.add(text)
            for _ in range(3):
                other = change(text, rng)
                # Its walks have one form of white space, ours several: only changes without any tell something.
                if b" " not in other and b" " not in text and not p.accepts(other):
                    refuses.add(other)
        yield {"from": f"peer {i}", "grammar": schema(s), "accepts": [] if STRICTER.keys() & s.keys() else sorted(t.decode() for t in accepts),
               "refuses": sorted(t.decode() for t in refuses)}


def main():
    cases = [{"from": f"hand {i}", "grammar": g, "accepts": a, "refuses": r} for i, (g, a, r) in enumerate(HAND)]
    cases += list(suite()) + list(peer())
    errors = [{"grammar": json.dumps(g), "status": status} for status, list_of in ERRORS for g in list_of]
    with open(os.path.join(HERE, "grammar.json"), "w", encoding="utf-8") as f:
        f.write('{"cases":[\n' + ",\n".join(json.dumps({**c, "grammar": json.dumps(c["grammar"])}) for c in cases) +
                '],\n"errors":[\n' + ",\n".join(json.dumps(e) for e in errors) + "]}\n")
    print(len(cases), "cases,", len(errors), "errors")


main()
