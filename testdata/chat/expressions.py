"""Makes expressions.json.gz: what Jinja, as transformers sets it up, makes of templates put together at random. See README.md."""

import copy
import datetime
import gzip
import json
import os
import random

import transformers.utils.chat_template_utils as chat

HERE = os.path.dirname(os.path.abspath(__file__))


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 7, 9, 5, 3)


chat.datetime = Clock

random.seed(7)
VARS={"s":"Hello, World","e":"","w":"  a b\tc \n","u":"ßéÅ ñ日本 x\u00a0","q":"it's \"q\" \\ <b>&","n":5,"neg":-7,"z":0,"f":2.5,"g":1e20,"t":True,"fa":False,"no":None,"l":[3,1,2],"ls":["b","A","c","a"],"el":[],"ld":[{"a":1,"b":"x"},{"a":3},{"a":2,"b":"Y"}],"d":{"b":1,"a":[1,2],"items":"I","C":None},"ed":{},"nest":{"x":{"y":["p","q"]}},"line":"a\nb\r\n\nc","mixed":[1,"a",None,2.0,True]}
NAMES = list(VARS) + ["undef"]
LITERALS = ["1","0","-2","2.0","'x'","''","'a'","' '","'l'","none","true","false","[]","[1,'a']","{}","{'a':1}","(1,2)","'%s-%s'","'{} {}'", "3", "'b'","\"a,b,,c\"","'\\n'"]
FILTERS = ["abs","capitalize","count","default","dictsort","first","float","int","items","join","last","length","list","lower","max","min","reverse","round","sort","string","sum","title","tojson","trim","unique","upper","wordcount","safe","indent","select","reject","batch(2)"]
WITH_ARGUMENTS = ["default({})","default({},true)","join({})","replace({},'_')","replace('a',{})","map(attribute='a')","map(attribute='b',default={})","map('upper')","selectattr('a')","selectattr('a','equalto',{})","rejectattr('b','defined')","selectattr('b','defined')","select('string')","reject('none')","select('in',{})","sort(reverse={})","sort(attribute='a')","tojson(indent={})","tojson(ensure_ascii=true)","tojson(sort_keys=true)","tojson(separators=(',',':'))","indent({})","indent(2,true)","indent(2,first=true,blank=true)","trim({})","int({})","float({})","round({})","round(1,'floor')","round(method='ceil')","attr('upper')","attr('a')","sum(attribute='a')","unique(case_sensitive=true)","format({},1)","max(attribute='a')","dictsort(by='value')","dictsort(reverse=true)","batch({})"]
TESTS = ["boolean","callable","defined","undefined","none","false","true","float","integer","number","string","mapping","iterable","sequence","lower","upper","even","odd","divisibleby({})","sameas({})","in({})","eq({})","ne({})","gt({})","ge {}","lt({})","le({})","equalto {}","filter","escaped"]
METHODS = ["strip()","strip({})","lstrip({})","rstrip()","split()","split({})","split({},1)","rsplit({},1)","split(none,1)","rsplit(none,1)","splitlines()","splitlines(true)","startswith({})","endswith({})","upper()","lower()","title()","capitalize()","casefold()","isdigit()","isalpha()","isalnum()","isspace()","isupper()","islower()","isnumeric()","replace({},'zz')","replace('l',{})","replace('l','L',1)","join({})","find({})","rfind('l')","index({})","count({})","removeprefix({})","removesuffix('d')","partition({})","rpartition(' ')","ljust(15)","rjust(15,'*')","zfill(9)","format({},2)","get({})","get({},7)","items()","keys()","values()","copy()","append(1)","pop()","update({})","foo","a","a.b","x.y","x.y[0]","items","length","swapcase()","center(20)","encode()","index","count","title","__class__","real","__len__()","_x"]
def atom(): return random.choice(NAMES) if random.random()<.7 else random.choice(LITERALS)
def expr(d):
    if d<=0: return atom()
    r=random.random(); x=lambda: expr(d-1)
    if r<.2: return x()+"|"+random.choice(FILTERS)
    if r<.34: return x()+"|"+random.choice(WITH_ARGUMENTS).replace("{}",atom())
    if r<.5: return "("+x()+")."+random.choice(METHODS).replace("{}",atom()) 
    if r<.6: return x()+" "+random.choice(["+","-","*","/","//","%","~"])+" "+x()
    if r<.68: return x()+" "+random.choice(["==","!=","<",">","<=",">=","in","not in"])+" "+x()
    if r<.74: return "("+x()+")["+random.choice([atom(),"1:","-1","::-1",":2","0","'a'","::2","5:1:-2","-3:-1","99"])+"]"
    if r<.84: return x()+" is "+random.choice(["","not "])+random.choice(TESTS).replace("{}",atom())
    if r<.88: return "("+x()+" if "+x()+random.choice([" else "+x(),""])+")"
    if r<.92: return "("+random.choice(["not ","-","+"])+x()+")"
    if r<.95: return "["+x()+", "+x()+"]"
    return "("+x()+random.choice([" and "," or "])+x()+")"


def stmt(d):
    r=random.random(); ws=lambda: random.choice(["","","-","+"]); nl=lambda: random.choice(["","\n","  ","\n  "," \n\n","\t"])
    o="{%"+ws(); cl=ws()+"%}"
    o2="{%"+ws(); cl2=random.choice(["","-"])+"%}"
    b=lambda: "".join(stmt(d-1) for _ in range(random.randint(1,2))) if d>0 else "x"
    if d<=0 or r<.25: return nl()+"{{"+random.choice(["","-"," "])+expr(1)+random.choice([""," ","-"])+"}}"+nl()
    if r<.35: return nl()+random.choice(["text"," a  ","b\n","{# c #}","{#- c -#}","{#+ c +#}\n","{% raw %} {{x}} {% endraw %}","{%- raw -%} y {%- endraw -%}\n"])+nl()
    if r<.55: return nl()+o+" for "+random.choice(["i","k, v","i"])+" in "+expr(1)+random.choice([""," if "+random.choice(["i","loop","i is string","true"])])+" "+cl+nl()+b()+random.choice(["{{ i }}","{{ loop.index }}","{{ loop.last }}{{ loop.previtem }}","{{ loop.nextitem }}{{loop.cycle('a','b')}}{{ loop.revindex0 }}{{loop.changed(i)}}","{% if loop.first %}{% continue %}{% endif %}z","{% set s = i %}{{ s }}","{% break %}"])+nl()+random.choice(["","{% else %}E"])+o2+" endfor "+cl2+nl()
    if r<.7: return nl()+o+" if "+expr(2)+" "+cl+nl()+b()+random.choice(["",o2+" else "+cl2+b(),"{% elif "+expr(1)+" %}y"])+o2+"endif"+cl2+nl()
    if r<.8: return nl()+o+" set "+random.choice(["s","x","l","ns.v"])+" = "+expr(2)+cl+nl()+"{{ s }}{{ x }}{{ ns.v }}"
    if r<.85: return "{% set x %}"+b()+"{% endset %}{{ x|length }}"
    if r<.9: return "{% macro m(a, b=1) %}"+b()+"{{ a }}{{ b }}{% endmacro %}{{ m("+random.choice(["","1","b=2","1,2","1,2,3","s, b=s"])+") }}"
    if r<.93: return o+" filter "+random.choice(["upper","trim","length","replace('a','b')"])+" "+cl+b()+"{% endfilter %}"
    if r<.96: return "{% generation %}"+b()+"{% endgeneration %}"
    return "{% call m("+random.choice(["","1"])+") %}"+b()+"{% endcall %}"


FIXED = [
    "{{ strftime_now('%d %b %Y') }} {{ strftime_now('%Y-%m-%d %H:%M:%S') }} {{ strftime_now('%A %B %-d, %y %j %I%p %e|%w%%') }}",
    "{{ 'x' + ('<' | safe) }}", "{{ '%5.2f|%-4d|%03d|%s|%r|%x' | format(2.5, 3, 7, none, 'a', 255) }}", "{{ {'a': none, 1: 2.0, true: 'z'} | tojson }}",
    "{{ ['é\\u2028\\x01', 1e22, 0.00001, 123456789.0] | tojson(ensure_ascii=true) }}", "{{ {'b': [], 'a': {}} | tojson(indent=2, sort_keys=true) }}",
    "{{ 'a\\tb' }}{{ '\\x41\\u00e9\\q' }}", "{{ (1, 2) }}{{ (1,) }}{{ 1, 2 }}", "{{ 7 // 2 }}{{ -7 // 2 }}{{ 7 % -3 }}{{ 7 / 2 }}{{ 2 ** 10 }}{{ 2 ** -1 }}",
    "{{ 1 < 2 < 3 }}{{ 1 < 3 < 2 }}{{ 'a' < 'b' }}{{ [1, 2] < [1, 3] }}", "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% set ns = namespace(a=1) %}{% for i in [1, 2] %}{% set ns.a = ns.a + i %}{% set x = i %}{% endfor %}{{ ns.a }}{{ x is defined }}{{ ns }}",
    "{% macro m(a, b='d') %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{{ caller(1) if caller }}{% endmacro %}{{ m(1, 2, 3, z=4) }}{% call(v) m(5) %}<{{ v }}>{% endcall %}",
    "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}", "{{ dict(a=1, b=2) }}{{ dict([('k', 'v')]) }}{{ range(3) | list }}{{ range(5, 1, -2) | list }}{{ range(200000) }}",
    "{{ undef.x }}", "{{ undef + 1 }}", "{{ d.zz.y }}", "{{ d.items }}", "{{ d['items'] }}{{ d.a }}{{ l.0 }}", "{{ 'x' is in 'xyz' }}{{ 3 is divisibleby 3 }}{{ l is sameas l }}",
    "{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}", "{{ raise_exception('stop ' ~ n) }}", "{{ l.append(4) }}", "{{ d.update({'z': 1}) }}", "{{ s.__class__ }}", "{{ ns._x }}",
    "{% for i in range(3) %}{{ i }}{% if i == 1 %}{% break %}{% endif %}{% else %}none{% endfor %}", "{% for i in [] %}{% else %}none{% endfor %}", "{{ x if false }}|{{ (x if false) is defined }}",
    "a\r\nb{{ 1 }}\n\n", "{{ 1 }}\n", "  {%- if true %}  a  {%- endif +%}  \n  b", "{# a #}\n{#- b -#}  c", "{% raw -%} {{ x }} {%- endraw %}", "{{ '{%' }}{{ '}}' }}{{ {'a': {'b': 1}}.a }}",
    "{% if n %}{% set q = 1 %}{% endif %}{{ q }}", "{% set q %} a {{ n }} {% endset %}[{{ q }}]{% set q | upper | trim %} b {% endset %}[{{ q }}]", "{% filter upper %}abc{{ s }}{% endfilter %}",
    "{{ loop }}", "{% for i in l recursive %}{{ i }}{% endfor %}", "{{ joiner('|')() }}{% set j = joiner() %}{{ j() }}{{ j() }}{{ j() }}", "{{ 'ǆ ŉ ﬃ Σας ΑΣ İ' | title }}{{ 'ΑΣ İ ß' | lower }}{{ 'ŉ ﬃ ß' | upper }}",
    "{% for m in l %}{{ n }}{% endfor %}{% set n = 2 %}{{ n }}", "{% macro m() %}{{ n }}{% endmacro %}{{ m() }}{% set n = 2 %}{{ m() }}", "{{ n }}{% for m in l %}{{ n }}{% endfor %}{% set n = 2 %}",
    "{% for m in l %}{{ n }}{% set n = 9 %}{{ n }}{% endfor %}{{ n }}", "{% for m in l %}{{ n }}{% endfor %}{% if t %}{% set n = 2 %}{% endif %}{{ n }}", "{% for m in l %}{{ n }}{% endfor %}{% if t %}{% set n = 2 %}{% else %}{% set n = 3 %}{% endif %}{{ n }}",
]


def result(src):
    try:
        out = chat._compile_jinja_template(src).render(**copy.deepcopy(VARS))
    except Exception as e:
        return {"src": src, "error": f"{type(e).__name__}: {e}"[:80]}
    return None if " at 0x" in out or "Context" in out else {"src": src, "out": out}


if __name__ == "__main__":
    cases = [r for r in map(result, FIXED) if r]
    texts, errors = 0, 0
    while texts < 1500:
        src = "{{ " + expr(random.randint(1, 3)) + " }}" if texts % 2 else "{% set ns = namespace(v=0) %}" + "".join(stmt(1) for _ in range(random.randint(1, 3)))
        r = result(src)
        if r is None or len(src) > 300 or "error" in r and errors >= 300:
            continue
        texts, errors = texts + ("out" in r), errors + ("error" in r)
        cases.append(r)
    with gzip.GzipFile(os.path.join(HERE, "expressions.json.gz"), "wb", mtime=0) as f:
        f.write(json.dumps({"vars": VARS, "cases": cases}, ensure_ascii=False).encode())
    print(texts, "texts,", errors, "errors")
