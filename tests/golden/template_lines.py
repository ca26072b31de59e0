"""Templates, of which each line is one, and the variables they are rendered with.

Next: `templates.py`.
"""

VARIABLES = {
    "messages": [
        {"role": "system", "content": " Be brief. "},
        {"role": "user", "content": "Hi <b>\n\tthere</b>, it's \"1\" é日😀"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"function": {"name": "f", "arguments": {"city": "Bonn", "n": [1, 2.5, None, True]}}}]},
    ],
    "d": {"b": 1, "a": [1, 2], "C": {"x": "y"}, "items": "own"},
    "l": [3, 1, 2],
    "names": ["b", "A", "c", "a"],
    "people": [{"name": "Zoe", "age": 30, "to": {"c": "x"}}, {"name": "adam", "age": 20, "to": {"c": "y"}},
               {"name": "Bob", "age": 30, "to": {"c": "x"}}],
    "tree": [{"v": 1, "kids": [{"v": 2, "kids": []}, {"v": 3, "kids": [{"v": 4, "kids": []}]}]}],
    "s": "The quick-brown fox\njumps  over\r\n\n the lazy dog\n",
    "w": "  xx text xx  ",
    "u": "straße ǆ ŉ ΑΣ ﬁ İ ½ ² ٣ 三 _x",
    "empty": "", "zero": 0, "none": None, "yes": True, "no": False,
    "f": 1234567.891, "big": 12345678901234567890, "tiny": 1e-07, "huge": 1e16, "neg": -7,
}

# What is printed, and arithmetic.
VALUES = r"""
{{ 1.0 }} {{ 1e16 }} {{ 1e15 }} {{ 1e-4 }} {{ 1e-5 }} {{ 1e-07 }} {{ 123456789.123456789 }} {{ 1e22 }} {{ 5e-324 }} {{ 1.5e300 }}
{{ 0.1 + 0.2 }} {{ 1/3 }} {{ 10/5 }} {{ -0.0 }} {{ 2.50 }} {{ 1_000 }} {{ 1_0.5_0 }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1E3 }}
{{ true }} {{ false }} {{ none }} {{ True }} {{ None }} {{ [true, none, 1.0, 'a', "it's", 'q"', '\'"'] }}
{{ {'a': true, 1: none, 2.5: 'x', none: [1], true: 'ja'} }} {{ (1,) }} {{ () }} {{ (1, 'a') }} {{ [] }} {{ {} }}
{{ ['\n\t\\\r\x00\x7f\xa0é日😀\u200b'] }} {{ [u] }} {{ '\x41\u00e9\101\z\'' }} {{ "a" 'b' "c" }}
{{ 99999999999999999999999999 + 1 }} {{ 2 ** 100 }} {{ 18446744073709551616 * 3 }} {{ -170141183460469231731687303715884105727 }}
{{ big }} {{ big + 1 }} {{ [big] }} {{ big | tojson }} {{ tiny }} {{ huge }} {{ f }} {{ [tiny, huge, f] | tojson }}
{{ +1 }} {{ -1 }} {{ - -1 }} {{ +-1 }} {{ -1.5 }} {{ +true }} {{ -true }} {{ not 1 }} {{ not not 1 }} {{ -2 ** 2 }} {{ 2 ** 3 ** 2 }} {{ 2 ** -1 }}
{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 // -2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 7.5 % -2 }} {{ 1 // 1.0 }} {{ 6 / 3 }} {{ 1e308 * 10 }}
{{ true + 1 }} {{ true == 1 }} {{ 1 == 1.0 }} {{ '1' == 1 }} {{ none == false }} {{ [] == () }} {{ [1] == [1.0] }} {{ {'a': 1} == {'a': true} }} {{ 1 != 2 }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' < 'b' }} {{ 'a' < 'B' }} {{ [1, 2] < [1, 3] }} {{ (1,) < (1, 0) }} {{ 2 >= 2.0 }} {{ 3 > 2 > 1 == 1 }}
{{ 'a' in 'cab' }} {{ 'x' not in 'cab' }} {{ 1 in [1, 2] }} {{ 'a' in {'a': 1} }} {{ 2 in range(5) }} {{ 1.0 in range(5) }} {{ '' in '' }} {{ 'x' in nothing }}
{{ 'ab' * 3 }} {{ 3 * 'ab' }} {{ 'ab' * 0 }} {{ 'ab' * -1 }} {{ [1] * 2 }} {{ (1, 2) * 2 }} {{ 'a' + 'b' }} {{ [1] + [2] }} {{ (1,) + (2,) }} {{ true * 'x' }}
{{ 'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1, 'x'] ~ {'k': none} ~ (1,) }} {{ 1 ~ 2 + 3 }}
{{ 'abc'[0] }}{{ 'abc'[-1] }}{{ 'abc'[1:] }}{{ 'abc'[:-1] }}{{ 'abcdef'[::2] }}{{ 'abcdef'[::-1] }}{{ 'abcdef'[4:1:-1] }}{{ 'abcdef'[-100:100] }}{{ 'abc'[5] }}|{{ 'abc'[2:1] }}
{{ l[0] }} {{ l[-1] }} {{ l[1:] }} {{ l[::-1] }} {{ l[5] }} {{ (1, 2, 3)[1:] }} {{ (1, 2, 3)[-2] }} {{ l.0 }} {{ l['0'] }} {{ l[true] }} {{ range(5)[2] }} {{ range(5)[-1] }}
{{ d.b }} {{ d['a'] }} {{ d.C.x }} {{ d.nope }} {{ d['nope'] }} {{ d.nope is defined }} {{ d['items'] }} {{ d.items() | list }} {{ d.get('b') }} {{ d.get('x', 5) }} {{ d.get('x') }}
{{ d.keys() }} {{ d.values() }} {{ d.items() }} {{ d.keys() | list }} {{ d.values() | list | length }} {{ d.copy() == d }} {{ d | length }} {{ d | list }} {{ d.keys() | length }}
{{ nothing }} {{ nothing is defined }} {{ nothing | length }} {{ nothing | list }} {{ nothing == nope }} {{ [nothing] }} {% for x in nothing %}x{% endfor %} {{ not nothing }} {{ nothing ~ 'x' }}
{{ nothing.x }}
{{ nothing['x'] }}
{{ nothing() }}
{{ nothing + 1 }}
{{ -nothing }}
{{ nothing < 1 }}
{{ 'a' if no }} {{ 'a' if yes else 'b' }} {{ 'a' if no else 'b' if no else 'c' }} {{ (1 if no) is defined }} {{ 1 if yes if no else 2 }}
{{ 0 or 'x' }} {{ '' and 'x' }} {{ 1 and 2 }} {{ none or [] }} {{ 1 or nothing.x }} {{ 1 == 1 and 2 == 2 or nothing.x }} {{ not none and 'y' }}
{{ range(3) }} {{ range(1, 4) | list }} {{ range(10, 0, -3) | list }} {{ range(0) | list }} {{ range(1, 4, 2) }} {{ range(5) == range(5) }} {{ range(3) | join }} {{ range(3) | length }}
{{ range(100001) | length }}
{{ range(1, 2, 0) }}
{{ range(1.5) }}
{{ 1 + 'a' }}
{{ 'a' + 1 }}
{{ [1] + (2,) }}
{{ 1 / 0 }}
{{ 1 // 0 }}
{{ 1 % 0 }}
{{ 1.5 % 0 }}
{{ none + 1 }}
{{ 1 < 'a' }}
{{ none < 1 }}
{{ {} < {} }}
{{ [1] < [none] }}
{{ 1 in 'a' }}
{{ 1 in 2 }}
{{ {[]: 1} }}
{{ {(1, 2): 'x'}[(1, 2)] }} {{ {1: 'i'}[1.0] }} {{ {'a': 1, 'a': 2} }} {{ {1: 'a', true: 'b'} }} {{ d[[]] }}|
{{ 'abc'[1.5] }}|{{ l['x'] }}|{{ l[none] }}|{{ 5[0] }}|{{ none['a'] }}|{{ none.a }}|{{ (5).x }}|
{{ 'abc'['a':] }}
{{ d[1:] }}
{{ l[::0] }}
{{ none[0:1] }}
{{ messages[0].content }}|{{ messages[-1]['role'] }}|{{ messages[2].content }}|{{ messages[2]['tool_calls'][0].function.arguments.city }}|{{ messages }}
{{ l.append(1) }}
{{ l.pop() }}
{{ l.extend([1]) }}
{{ l.insert(0, 1) }}
{{ l.sort() }}
{{ l.reverse() }}
{{ l.remove(1) }}
{{ l.clear() }}
{{ d.update({'x': 1}) }}
{{ d.pop('b') }}
{{ d.setdefault('q', 1) }}
{{ d.clear() }}
{{ d.popitem() }}
{{ l.append is defined }} {{ l.append }}|{{ d.update is defined }}|
{{ ''.__class__ }}
{{ ''.__class__.__mro__ }}
{{ l.count(1) }} {{ l.index(2) }} {{ l.copy() }} {{ (1, 1).count(1) }} {{ (1, 2).index(2) }} {{ range(9).index(4) }} {{ range(9).count(4) }} {{ [1, 2, 1].index(1, 1) }}
{{ l.index(9) }}
{{ l.count() }}
{{ l.count(1, 2) }}
{{ d.get() }}
{{ d.get(1, 2, 3) }}
{{ d.get(key='b') }}
{{ d.items(1) }}
{{ dict(a=1, b=2) }} {{ dict([('a', 1)]) }} {{ dict({'a': 1}, a=2) }} {{ dict() }} {{ dict([['x', 'y']], z=1) }} {{ dict(d, **{'q': 1}) }} {{ dict(d.items())['b'] }}
{{ dict([1]) }}
{{ dict(1) }}
{{ dict({}, {}) }}
{{ dict([(1, 2, 3)]) }}
{% set j = joiner() %}{{ j() }}a{{ j() }}b{{ j() }}c {% set k = joiner(sep=' | ') %}{{ k() }}x{{ k() }}y{{ k.sep }}
{% set j = joiner(1) %}{{ j() }}{{ j() }}
{{ joiner(',', 1) }}
{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{{ c.reset() }}{{ c.next() }}
{{ cycler() }}
{% set n = namespace(a=1) %}{% set n.a = 2 %}{% set n.b = 'x' %}{{ n.a }}{{ n.b }}{{ n.c }}|{{ n['a'] }}{{ n.c is defined }}
{% set n = namespace({'a': 1}, b=2) %}{{ n.a + n.b }}{% for i in range(3) %}{% set n.a = n.a + i %}{% endfor %}{{ n.a }}
{% set n = namespace() %}{% set n._x = 1 %}
{{ namespace(__x=1) }}
{% set d.x = 1 %}
{% set nope.x = 1 %}
{{ raise_exception('stop') }}
{{ raise_exception() }}
{{ lipsum.nope }}
{{ nofunction(1) }}
{{ 'x'() }}
{{ d() }}
{{ 1 | nofilter }}
{{ 1 is notest }}
{% if no %}{{ 1 | nofilter }}{% endif %}
{{ strftime_now('%%') }}{{ strftime_now('x') }}{{ strftime_now('%n%t') }}|
{{ strftime_now() }}
{{ strftime_now('a', 'b') }}
"""

# Methods of strings.
METHODS = r"""
{{ 'a b  c'.split() }} {{ 'a,b,,c'.split(',') }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.split(sep=',', maxsplit=1) }} {{ ' a  b c '.split(none, 1) }} {{ ''.split() }} {{ ''.split(',') }} {{ 'aXbX'.split('X') }} {{ 'a b'.split(' ', -1) }} {{ 'a b c'.split(maxsplit=0) }}
{{ 'a b c'.rsplit(' ', 1) }} {{ 'a b  c '.rsplit() }} {{ ' a b  c '.rsplit(none, 1) }} {{ 'aaa'.rsplit('aa') }} {{ 'aaa'.split('aa') }} {{ 'a,b,c'.rsplit(',') }} {{ 'a,b,c'.rsplit(sep=',', maxsplit=1)[0] }} {{ 'a b c'.rsplit(maxsplit=0) }}
{{ 'a'.split('') }}
{{ 'a'.split(1) }}
{{ 'a'.split(',', 1, 2) }}
{{ 'a'.split(nope=1) }}
{{ 'a'.split(',', 1.5) }}
{{ s.splitlines() }} {{ s.splitlines(true) }} {{ s.splitlines(keepends=true) | length }} {{ ''.splitlines() }} {{ 'a\n'.splitlines() }} {{ 'a\x0bb\x0cc\x1cd\x85e\u2028f'.splitlines() }} {{ '\r\n\r'.splitlines() }}
{{ 'a:b:c'.partition(':') }} {{ 'a:b:c'.rpartition(':') }} {{ 'abc'.partition(':') }} {{ 'abc'.rpartition(':') }} {{ 'a::b'.partition('::')[2] }} {{ 'aaa'.rpartition('aa') }}
{{ 'a'.partition('') }}
{{ 'a'.partition() }}
[{{ w.strip() }}] [{{ w.lstrip() }}] [{{ w.rstrip() }}] [{{ w.strip(' x') }}] [{{ 'xxaxx'.strip('x') }}] [{{ 'xxaxx'.lstrip('x') }}] [{{ 'xxaxx'.rstrip('x') }}] [{{ 'abc'.strip('') }}] [{{ '\u2003\x1fa\xa0'.strip() }}] [{{ 'a'.strip(none) }}] [{{ '   '.strip() }}]
{{ 'a'.strip(1) }}
{{ 'a'.strip(chars='a') }}
{{ 'xab'.removeprefix('x') }} {{ 'xab'.removeprefix('y') }} {{ 'abx'.removesuffix('x') }} {{ 'abx'.removesuffix('') }} {{ 'aa'.removeprefix('aa') }}|
{{ 'a'.removeprefix() }}
{{ 'aaa'.replace('a', 'b') }} {{ 'aaa'.replace('a', 'b', 2) }} {{ 'abc'.replace('', '-') }} {{ 'abc'.replace('', '-', 2) }} {{ ''.replace('', 'x') }} {{ 'aaa'.replace('aa', 'b') }} {{ 'abc'.replace('b', '') }} {{ 'aaa'.replace('a', 'b', -1) }} {{ 'aaa'.replace('a', 'b', 0) }}
{{ 'a'.replace('a') }}
{{ 'a'.replace(1, 'b') }}
{{ 'a'.replace('a', none) }}
{{ 'abcabc'.find('c') }} {{ 'abcabc'.rfind('c') }} {{ 'abc'.find('x') }} {{ 'abcabc'.find('c', 3) }} {{ 'abcabc'.find('c', 0, 2) }} {{ 'abc'.find('') }} {{ 'abc'.rfind('') }} {{ 'abc'.find('', 3) }} {{ 'abc'.find('', 4) }} {{ 'abcabc'.rfind('a', -2) }} {{ 'abcabc'.find('b', -5, -1) }} {{ 'abc'.find('a', none, none) }}
{{ 'abc'.index('c') }} {{ 'abcb'.rindex('b') }} {{ 'aXbXc'.count('X') }} {{ 'aaaa'.count('aa') }} {{ 'abc'.count('') }} {{ 'aaa'.count('a', 1) }} {{ 'aaa'.count('a', 1, 2) }} {{ 'aaa'.count('a', 5) }}
{{ 'abc'.index('x') }}
{{ 'abc'.rindex('x') }}
{{ 'abc'.count(1) }}
{{ 'abc'.startswith('ab') }} {{ 'abc'.startswith(('x', 'a')) }} {{ 'abc'.startswith('b', 1) }} {{ 'abc'.endswith('bc') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'abc'.endswith('b', 0, 2) }} {{ 'abc'.startswith('') }} {{ 'abc'.startswith('', 4) }} {{ 'abc'.endswith('', 3) }} {{ 'abc'.startswith(()) }}
{{ 'abc'.startswith(1) }}
{{ 'abc'.startswith(['a']) }}
{{ 'aBc'.upper() }} {{ 'aBc'.lower() }} {{ 'heLLo wORLD'.title() }} {{ 'heLLo wORLD'.capitalize() }} {{ 'aBc'.swapcase() }} {{ "they're bill's".title() }} {{ 'aBC'.casefold() }} {{ u.upper() }} {{ u.lower() }} {{ u.title() }} {{ u.capitalize() }} {{ u.swapcase() }}
{{ 'ΑΣ'.lower() }} {{ 'ΑΣΑ'.lower() }} {{ 'Σ'.lower() }} {{ 'ßx'.title() }} {{ 'ﬁx'.capitalize() }} {{ 'ǆa'.title() }} {{ 'აბ'.title() }} {{ 'ᾳx'.title() }} {{ 'ᾲ'.title() }}
{{ 'abc'.isalpha() }} {{ ''.isalpha() }} {{ 'a1'.isalnum() }} {{ '12'.isdigit() }} {{ '²'.isdigit() }} {{ '²'.isdecimal() }} {{ '½'.isnumeric() }} {{ '三'.isnumeric() }} {{ '٣'.isdecimal() }} {{ ' \t'.isspace() }} {{ 'Ab Cd'.istitle() }} {{ 'ab'.islower() }} {{ 'AB1'.isupper() }} {{ '1'.isupper() }} {{ 'a_1'.isidentifier() }} {{ '1a'.isidentifier() }} {{ 'a\n'.isprintable() }} {{ 'é'.isascii() }} {{ ''.isascii() }} {{ 'é日'.isalpha() }} {{ 'ǅ'.islower() }} {{ 'ǅ'.istitle() }} {{ '①'.isalnum() }} {{ 'Ⅷ'.isalpha() }} {{ 'ª'.islower() }}
{{ 'a'.isalpha(1) }}
{{ 'a'.upper(1) }}
[{{ 'ab'.center(5) }}] [{{ 'ab'.center(6, '*') }}] [{{ 'abc'.center(6) }}] [{{ 'a'.center(4) }}] [{{ 'ab'.ljust(4) }}] [{{ 'ab'.rjust(4, '.') }}] [{{ 'ab'.ljust(1) }}] [{{ 'ab'.rjust(-3) }}]
{{ 'a'.center(5, 'ab') }}
{{ 'a'.center() }}
{{ 'a'.ljust('5') }}
{{ '5'.zfill(3) }} {{ '-5'.zfill(4) }} {{ '+5'.zfill(4) }} {{ ''.zfill(2) }} {{ 'abc'.zfill(2) }} {{ '--5'.zfill(5) }}
{{ '5'.zfill() }}
{{ 'a\tb'.expandtabs() }}| {{ 'a\tb'.expandtabs(4) }}| {{ '\t\n\ta'.expandtabs(tabsize=2) }}| {{ 'a\tb'.expandtabs(0) }}
{{ ','.join(['a', 'b']) }} {{ ''.join('abc') }} {{ ', '.join(d) }} {{ '-'.join(names | map('upper')) }} {{ ','.join([]) }}|
{{ ','.join([1]) }}
{{ ','.join(1) }}
{{ '{} {}'.format(1, 'a') }} {{ '{1} {0}'.format(1, 2) }} {{ '{a} {b}'.format(a=1, b=none) }} {{ '{0.b} {0[a]} {1[0]}'.format(d, l) }} {{ '{{}} {}'.format(true) }} {{ '{!r} {!s}'.format('a', 'b') }}
{{ '{:5}|{:<5}|{:>5}|{:^5}|{:*^5}|{:5}'.format('a', 'b', 'c', 'd', 'e', 1) }} {{ '{:05}|{:+}|{: }|{:x}|{:X}|{:#x}|{:o}|{:b}|{:#b}|{:d}'.format(42, 1, 2, 255, 255, 255, 8, 5, 5, 7) }}
{{ '{:.2f}|{:8.3f}|{:e}|{:.1e}|{:g}|{:%}|{:.1%}|{:,}|{:_}|{:,.2f}|{:G}|{:F}'.format(3.14159, 2.5, 12345.678, 0.00012, 1e10, 0.25, 0.5, 1234567, 1234567, 1234567.891, 1e-10, 1.5) }}
{{ '{:.2}|{:10.3}|{:<10}|{:=5}|{:=+5}|{:05d}'.format('abc', 'abcdef', true, 5, 5, -3) }} {{ '{:{}}|{:{w}.{p}f}'.format('a', 4, 1.5, w=7, p=2) }} {{ '{:g}|{:g}|{:g}|{:.3g}|{:g}'.format(100000, 1000000, 1e-5, 1234.5, 0.1) }}
{{ '{} {}'.format(1) }}
{{ '{} {1}'.format(1, 2) }}
{{ '{'.format(1) }}
{{ '}'.format(1) }}
{{ '{:q}'.format(1) }}
{{ '{:d}'.format(1.5) }}
{{ '{:d}'.format('a') }}
{{ '{:5}'.format(none) }}
{{ '{:.3d}'.format(1) }}
{{ '{:>}'.format('a') }}|{{ '{:}'.format(none) }}|{{ '{}'.format([1, 'a']) }}|{{ '{:<3}|'.format(1) }}
{{ '{x}'.format_map({'x': 1}) }}
{{ '{x}'.format_map({}) }}
{{ '%s-%s' % ('a', 1) }} {{ '%s' % 'a' }} {{ '%s' % [1] }} {{ '%d%%' % 50 }} {{ '%(a)s %(b)05d' % {'a': 'x', 'b': 7} }} {{ '%5.1f|%-5s|%05d|%+d|% d|%x|%X|%#x|%o|%e|%g|%G' % (3.14159, 'a', 42, 1, 2, 255, 255, 255, 8, 12345.678, 0.00001, 1e20) }}
{{ '%r %s %c %c' % ('a', none, 'x', 65) }} {{ '%.2s|%5s|%-5s|%.3d|%i|%u' % ('abc', 'ab', 'ab', 5, 3.9, 4) }} {{ '%*d|%-*d|%.*f' % (5, 1, 5, 2, 2, 3.14159) }} {{ '%s' % ((1, 2),) }} {{ 'no' % {} }} {{ 'no' % [] }} {{ '%d' % true }} {{ '%ld' % 5 }}
{{ '%s' % none }} {{ '%s %s' % (true, 1.0) }} {{ '%f' % 1 }} {{ '%.0f %.0f %.0f' % (0.5, 1.5, 2.5) }} {{ '%+.1e' % 0 }} {{ '%08.3f' % -3.14159 }} {{ '%x' % -255 }} {{ '%s' % d }}
{{ '%s %s' % 'a' }}
{{ '%d' % 'a' }}
{{ '%d' % none }}
{{ 'a' % 1 }}
{{ '%q' % 1 }}
{{ '%' % 1 }}
{{ '%(a)s' % 1 }}
{{ '%(z)s' % {} }}
{{ '%x' % 1.5 }}
{{ '%s' % () }}
{{ 'a'.nomethod() }}
{{ 'a'.nomethod }}|
{{ 'a'['upper']() }} {{ ('a' | attr('upper'))() }} {{ d | attr('b') }}|{{ d | attr('keys') is callable }}
"""

# Filters, each with each argument.
FILTERS = r"""
{{ -5 | abs }} {{ (-5) | abs }} {{ (-1.5) | abs }} {{ true | abs }} {{ neg | abs }}
{{ 'a' | abs }}
{{ [1, 2, 3, 4, 5] | batch(2) | list }} {{ l | batch(2, 'x') | list }} {{ l | batch(linecount=5, fill_with=0) | list }} {{ [] | batch(2) | list }} {{ l | batch(0) | list }} {{ l | batch(2, none) | list }}
{{ [1, 2, 3, 4, 5] | slice(2) | list }} {{ [1, 2, 3, 4, 5] | slice(3, 'x') | list }} {{ l | slice(5) | list }} {{ l | slice(slices=2, fill_with=0) | list }} {{ [] | slice(2) | list }} {{ l | slice(-1) | list }}
{{ l | slice(0) | list }}
{{ 'heLLo wORLD' | capitalize }} {{ 'aB' | upper }} {{ 'aB' | lower }} {{ "they're o-k (yes) [no] <b>x</b>" | title }} {{ 'foo bar-baz' | title }} {{ none | upper }} {{ 1.0 | title }} {{ nothing | upper }}| {{ true | lower }}
[{{ 'ab' | center(6) }}] [{{ 'ab' | center }}] [{{ 'ab' | center(width=5) }}] [{{ 12 | center(5) }}]
{{ nothing | default('x') }} {{ nothing | d }}| {{ '' | default('x') }}| {{ '' | default('x', true) }} {{ none | default('x') }} {{ none | default('x', boolean=true) }} {{ nothing | default(default_value=1) }} {{ 0 | d(5, true) }} {{ nothing.x | default(1) }}
{{ d.nope | default('x') }} {{ messages[9] | default('none') }}
{{ 1 | default(1, 2, 3) }}
{{ 1 | default(nope=1) }}
{{ {'b': 1, 'A': 2, 'c': 0} | dictsort }} {{ {'b': 1, 'A': 2} | dictsort(true) }} {{ {'b': 1, 'A': 2, 'c': 0} | dictsort(false, 'value') }} {{ {'b': 1, 'A': 2} | dictsort(reverse=true) }} {{ {'b': 'X', 'A': 'y'} | dictsort(by='value', case_sensitive=true) }}
{{ d | dictsort(by='nope') }}
{{ l | dictsort }}
{{ '<a href="x">\'&' | e }} {{ '<' | escape }} {{ '<' | e | e }} {{ '<' | e | forceescape }} {{ '<' | safe }} {{ '<' | safe | e }} {{ 1 | e }} {{ none | e }} {{ '<' | e ~ '<' }} {{ '<' | e is escaped }} {{ '<' is escaped }} {{ '<' | e | length }}
{{ 1 | filesizeformat }} {{ 999 | filesizeformat }} {{ 1000 | filesizeformat }} {{ 1500 | filesizeformat }} {{ 1048576 | filesizeformat(true) }} {{ 1048576 | filesizeformat(binary=true) }} {{ 1e12 | filesizeformat }} {{ '2000' | filesizeformat }} {{ 1.5 | filesizeformat }} {{ 1e30 | filesizeformat }} {{ 0 | filesizeformat }}
{{ l | first }} {{ 'abc' | first }} {{ [] | first }}| {{ d | first }} {{ l | map('string') | first }} {{ range(3) | first }} {{ nothing | first }}|
{{ l | last }} {{ 'abc' | last }} {{ [] | last }}| {{ d | last }} {{ range(3) | last }} {{ (1, 2) | last }}
{{ 5 | first }}
{{ l | map('string') | last }}
{{ '1.5' | float }} {{ 'x' | float }} {{ 'x' | float(2.5) }} {{ 'x' | float(default='d') }} {{ 1 | float }} {{ none | float }} {{ ' 1e3 ' | float }} {{ 'inf' | float }} {{ 'nan' | float }} {{ '1_0.5' | float }} {{ true | float }} {{ [] | float }} {{ '.5' | float }} {{ '٣' | float }} {{ '1e' | float }}
{{ nothing | float }}
{{ '42' | int }} {{ '42.9' | int }} {{ 'x' | int }} {{ 'x' | int(7) }} {{ 'x' | int(default=none) }} {{ '1f' | int(base=16) }} {{ '0x1f' | int(0, 16) }} {{ '0b11' | int(base=0) }} {{ '777' | int(base=8) }} {{ 3.9 | int }} {{ -3.9 | int }} {{ (-3.9) | int }} {{ true | int }} {{ none | int }} {{ ' 5 ' | int }} {{ '1_000' | int }} {{ '-7' | int }} {{ '1e3' | int }} {{ 'zz' | int(base=36) }} {{ '9' | int(5, 8) }} {{ '' | int }} {{ [] | int(3) }} {{ '٣٤' | int }} {{ 'inf' | int }} {{ 'nan' | int(4) }}
{{ nothing | int }}
{{ '%s!' | format('a') }} {{ '%s-%d' | format('a', 5) }} {{ '%(x)s' | format(x=1) }} {{ 'a' | format }} {{ 5 | format }}
{{ '%s' | format('a', x=1) }}
{{ '%s' | format('a', 'b') }}
{% for g in people | groupby('age') %}{{ g.grouper }}:{{ g.list | map(attribute='name') | join(',') }};{% endfor %} {% for k, v in people | groupby('to.c') %}{{ k }}{{ v | length }}{% endfor %} {{ people | groupby('age') | length }} {{ people | groupby(attribute='name') | map(attribute='grouper') | list }} {{ people | groupby('name', case_sensitive=true) | map('first') | list }} {{ [{'a': 1}, {}] | groupby('a', default=0) }} {{ [[1, 2], [1, 3]] | groupby(0) }} {{ (people | groupby('age'))[0][0] }}
{{ people | groupby }}
{{ s | indent }}| {{ s | indent(2) }}| {{ s | indent(width=2, first=true) }}| {{ s | indent(2, true, true) }}| {{ s | indent('>>') }}| {{ s | indent(2, blank=true) }}| {{ 'a\n' | indent(2) }}| {{ '' | indent }}| {{ '' | indent(2, true) }}| {{ '\n' | indent }}| {{ 'a\n\nb' | indent(1) }}| {{ 'a\r\nb' | indent(1) }}| {{ 'a\nb' | indent(0) }}| {{ 'a\nb' | indent(-1) }}| {{ 'a\nb' | indent(true) }}
{{ 5 | indent }}
{{ none | indent }}
{{ 'a' | indent(1.5) }}
{{ 'a' | indent(nope=1) }}
{{ 'a' | indent(2, true, true, 4) }}
{{ d | items | list }} {{ nothing | items | list }} {% for k, v in d | items %}{{ k }}{% endfor %}
{{ l | items | list }}
{{ l | join }} {{ l | join(', ') }} {{ l | join(d='-') }} {{ people | join(', ', 'name') }} {{ people | join(attribute='age') }} {{ [1, none, true, 1.0, 'a'] | join('|') }} {{ 'abc' | join('.') }} {{ [] | join(',') }}| {{ l | join(1) }} {{ d | join }} {{ nothing | join }}| {{ people | join(',', 'to.c') }}
{{ 5 | join }}
{{ none | join }}
{{ l | length }} {{ 'é日' | length }} {{ d | count }} {{ '' | length }} {{ range(5) | count }} {{ (1, 2) | length }}
{{ 5 | length }}
{{ none | length }}
{{ l | map('string') | length }}
{{ 'abc' | list }} {{ d | list }} {{ range(3) | list }} {{ l | list }} {{ (1, 2) | list }}
{{ 5 | list }}
{{ names | map('upper') | list }} {{ people | map(attribute='name') | list }} {{ people | map(attribute='to.c') | list }} {{ people | map(attribute='nope', default='x') | list }} {{ people | map(attribute='nope') | list }} {{ l | map('float') | list }} {{ names | map('replace', 'a', 'z') | list }} {{ none | map('upper') | list }} {{ [[1, 2], [3]] | map(attribute=0) | list }} {{ [[1, 2]] | map('join', '-') | list }} {{ ['a'] | map('indent', first=true) | list }} {{ l | map('abs') | sum }} {{ ['1', 'x'] | map('int', default=9) | list }}
{{ l | map | list }}
{{ l | map('nofilter') | list }}
{{ l | map(attribute='a', nope=1) | list }}
{{ l | min }} {{ l | max }} {{ names | min }} {{ names | max }} {{ names | min(case_sensitive=true) }} {{ names | max(true) }} {{ people | max(attribute='age') }} {{ people | min(attribute='name') }} {{ [] | max }}| {{ 'hello' | max }} {{ d | min }}
{{ [1, 'a'] | max }}
{{ 5 | max }}
{{ l | pprint }} {{ {'b': 1, 'a': [1]} | pprint }} {{ 'x' | pprint }} {{ none | pprint }}
{{ l | reject('odd') | list }} {{ l | select('odd') | list }} {{ [0, 1, '', 'a', none] | select | list }} {{ [0, 1] | reject | list }} {{ l | select('gt', 1) | list }} {{ l | select('>=', 2) | list }} {{ names | select('in', ['a', 'b']) | list }} {{ names | reject('equalto', 'a') | list }} {{ none | select | list }} {{ [1, none] | select('none') | list }} {{ l | select('divisibleby', 3) | list }} {{ [1, 'a'] | select('string') | list }}
{{ people | selectattr('age', 'gt', 20) | map(attribute='name') | list }} {{ people | selectattr('age') | list | length }} {{ people | rejectattr('age', '==', 30) | map(attribute='name') | list }} {{ people | selectattr('to.c', 'equalto', 'x') | list | length }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }} {{ messages | rejectattr('content') | list | length }} {{ messages | selectattr('tool_calls', 'defined') | list | length }} {{ messages | selectattr('role', 'in', ['user', 'system']) | map(attribute='role') | join(',') }}
{{ l | select('notest') | list }}
{{ people | selectattr | list }}
{{ 'aaa' | replace('a', 'b') }} {{ 'aaa' | replace('a', 'b', 2) }} {{ 'aaa' | replace('a', 'b', count=1) }} {{ 'abc' | replace('', '-') }} {{ 123 | replace(2, 'x') }} {{ none | replace('None', 'x') }} {{ 'aaa' | replace(old='a', new='c') }} {{ 'aaa' | replace('a', 'b', none) }}
{{ 'a' | replace('a') }}
{{ 'abc' | reverse }} {{ l | reverse | list }} {{ d | reverse | list }} {{ range(3) | reverse | list }} {{ l | map('string') | reverse | list }} {% for x in l | reverse %}{{ x }}{% endfor %} {{ (1, 2) | reverse | join }}
{{ 5 | reverse }}
{{ 42.55 | round }} {{ 42.55 | round(1) }} {{ 42.55 | round(1, 'floor') }} {{ 42.55 | round(1, 'ceil') }} {{ 42 | round }} {{ 2.5 | round }} {{ 3.5 | round }} {{ 42.55 | round(method='ceil') }} {{ 42 | round(method='floor') }} {{ -2.5 | round }} {{ 2.675 | round(2) }} {{ 1e20 | round }} {{ 42.1234 | round(precision=3) }} {{ 42.55 | round | int }} {{ true | round }}
{{ 42 | round(method='nope') }}
{{ 'a' | round }}
{{ l | sort }} {{ names | sort }} {{ names | sort(true) }} {{ names | sort(case_sensitive=true) }} {{ names | sort(reverse=true, case_sensitive=true) }} {{ people | sort(attribute='name') | map(attribute='name') | list }} {{ people | sort(attribute='age,name') | map(attribute='name') | list }} {{ people | sort(reverse=true, attribute='age') | map(attribute='name') | list }} {{ 'cab' | sort }} {{ d | sort }} {{ [[2, 1], [1, 2]] | sort(attribute=1) }} {{ (3, 1) | sort }} {{ [1.5, 1, true] | sort }} {{ [] | sort }}
{{ [1, 'a'] | sort }}
{{ [none, none] | sort }} {{ [[1], [0]] | sort }}
{{ [none, 1] | sort }}
{{ 5 | sort }}
{{ 1 | string }} {{ 1.0 | string }} {{ none | string }} {{ [1, 'a'] | string }} {{ true | string ~ 'x' }} {{ 'a' | string }} {{ (1 | string) * 2 }}
{{ '<b>a</b>  <!-- <i> --> b &amp; c' | striptags }} {{ 'a < b' | striptags }} {{ 'x <y' | striptags }} {{ '&lt;b&gt;' | striptags }} {{ 1 | striptags }} {{ '  a \n b ' | striptags }} {{ '<!<!-- x -->-- y -->z' | striptags }}
{{ l | sum }} {{ [] | sum }} {{ people | sum(attribute='age') }} {{ l | sum(start=10) }} {{ [[1], [2]] | sum(start=[]) }} {{ people | sum('age', 5) }} {{ [1.5, 2] | sum }} {{ [true, true] | sum }} {{ (1, 2) | sum }}
{{ ['a'] | sum }}
{{ ['a'] | sum(start='') }}
{{ 5 | sum }}
[{{ w | trim }}] [{{ w | trim(' x') }}] [{{ w | trim(chars='x ') }}] [{{ 5 | trim }}] [{{ none | trim }}] [{{ nothing | trim }}] [{{ 'xax' | trim('x') }}] [{{ 'a' | trim(none) }}]
{{ 'a' | trim(1) }}
{{ 'The quick brown fox jumps' | truncate(9) }} {{ 'The quick brown fox jumps' | truncate(9, true) }} {{ 'The quick brown fox' | truncate(11, false, '…') }} {{ 'The quick brown fox' | truncate(11, end='') }} {{ 'abc def' | truncate(5) }} {{ 'abc def' | truncate(5, leeway=0) }} {{ 'abcdefghijkl' | truncate(5, leeway=0) }} {{ ('x' * 300) | truncate | length }} {{ 'short' | truncate }} {{ 'a b c d e f g' | truncate(length=6, killwords=false, end='..', leeway=1) }}
{{ 'abc' | truncate(2) }}
{{ 'abc' | truncate(5, leeway=-1) }}
{{ 5 | truncate(5) }}
{{ [1, 2, 1, 'a', 'A'] | unique | list }} {{ ['a', 'A'] | unique(true) | list }} {{ people | unique(attribute='age') | map(attribute='name') | list }} {{ [1, 1.0, true] | unique | list }} {{ 'abca' | unique | join }} {{ people | unique(case_sensitive=false, attribute='to.c') | list | length }}
{{ [[1], [1]] | unique | list }}
{{ 'a b/c?d=é&f' | urlencode }} {{ {'a b': 'c/d', 'e': 1} | urlencode }} {{ [('a', 1), ('b', none)] | urlencode }} {{ 5 | urlencode }} {{ none | urlencode }} {{ 'a~b-c_d.e' | urlencode }}
{{ 'a b  c-d, e' | wordcount }} {{ '' | wordcount }} {{ "it's é日 a_b" | wordcount }} {{ 5 | wordcount }}
{{ 'The quick brown fox' | wordwrap(10) }}| {{ 'aaaaaaaaaaaa bb' | wordwrap(5) }}| {{ 'aaaaaaaaaaaa bb' | wordwrap(5, false) }}| {{ 'a b c d' | wordwrap(3, wrapstring='/') }}| {{ 'one two\nthree four' | wordwrap(width=7) }}| {{ 'a  b   c' | wordwrap(4) }}| {{ '' | wordwrap }}| {{ 'well-known fact-x' | wordwrap(6, break_on_hyphens=false) }}| {{ '  lead in' | wordwrap(4) }}| {{ 'a\n\nb' | wordwrap(4) }}| {{ 'x' | wordwrap }}| {{ 'aaa bbbbbbbbb c' | wordwrap(5, true, '+') }}
{{ 'a' | wordwrap(0) }}
{{ 'well-known fact' | wordwrap(6) }}
{{ {'a': 1, 'b': none, 'c': '<"'} | xmlattr }} {{ {'a': 1} | xmlattr(false) }} {{ {} | xmlattr }}| {{ {'id': 'x', 'on': true} | xmlattr(autospace=false) }}
{{ {'a b': 1} | xmlattr }}
{{ l | random }}
{{ 'x' | urlize }}
{{ d | tojson }} {{ l | tojson }} {{ 'é"\\\n<b>\u2028\x7f' | tojson }} {{ none | tojson }} {{ true | tojson }} {{ 1.0 | tojson }} {{ 1e-07 | tojson }} {{ 1e16 | tojson }} {{ (1, 2) | tojson }} {{ {1: 'a', none: 1, true: 2, 1.5: 3} | tojson }} {{ [] | tojson }} {{ {} | tojson }} {{ ('inf' | float) | tojson }} {{ ('nan' | float) | tojson }} {{ big | tojson }}
{{ d | tojson(indent=2) }} {{ d | tojson(indent=0) }} {{ d | tojson(indent='  ') }} {{ d | tojson(indent='\t') }} {{ [] | tojson(indent=2) }} {{ {'a': [], 'b': {}} | tojson(indent=1) }} {{ l | tojson(indent=none) }} {{ l | tojson(indent=true) }} {{ l | tojson(indent=-1) }}
{{ {'b': 1, 'a': [1, 2]} | tojson(separators=(',', ':'), sort_keys=true) }} {{ d | tojson(separators=[', ', ' = ']) }} {{ {'b': {'z': 1, 'y': 2}, 'a': 3} | tojson(sort_keys=true, indent=2) }} {{ d | tojson(false, 2) }} {{ 'é日😀' | tojson(ensure_ascii=true) }} {{ '\x7f' | tojson(true) }} {{ l | tojson(indent=2, separators=(',', ': ')) }} {{ l | tojson(true, none, (';', ':'), true) }}
{{ l | tojson(nope=1) }}
{{ l | tojson(false, 1, none, true, 5) }}
{{ nothing | tojson }}
{{ l | map('string') | tojson }}
{{ range(3) | tojson }}
{{ {(1, 2): 3} | tojson }}
{{ {1: 1, 'a': 2} | tojson(sort_keys=true) }}
{{ l | tojson(separators=',') }}
{{ l | tojson(indent=1.5) }}
{{ d | attr('nope') }}|{{ 'a' | attr('upper') is defined }}
{{ l | first(1) }}
{{ l | upper(1) }}
{{ l | length(1) }}
{{ l | join(',', 'a', 1) }}
{{ l | sort(nope=1) }}
{{ l | sum(nope=1) }}
{{ l | batch(2, 3, 4) | list }}
{{ l | map('string') }}x
"""

# Tests.
TESTS = r"""
{{ true is boolean }} {{ 1 is boolean }} {{ dict is callable }} {{ 'a' is callable }} {{ nothing is callable }} {{ nothing is defined }} {{ none is defined }} {{ 6 is divisibleby(3) }} {{ 6 is divisibleby 4 }} {{ 7 is divisibleby(num=7) }}
{{ 1 is eq 1 }} {{ 1 is equalto(1.0) }} {{ 1 is == 1 }} {{ 1 is ne 2 }} {{ 1 is lt 2 }} {{ 1 is lessthan(2) }} {{ 2 is gt 1 }} {{ 2 is greaterthan 1 }} {{ 2 is ge 2 }} {{ 2 is le 1 }} {{ 1 is in [1] }} {{ 1 is not in [1] }}
{{ 2 is even }} {{ 2 is odd }} {{ 1.0 is odd }} {{ false is false }} {{ 0 is false }} {{ true is true }} {{ 1 is true }} {{ 1.5 is float }} {{ 1 is float }} {{ 1 is integer }} {{ true is integer }} {{ 1.0 is integer }} {{ true is number }} {{ 'a' is number }}
{{ 'upper' is filter }} {{ 'nope' is filter }} {{ 'defined' is test }} {{ 'nope' is test }} {{ 'a' is iterable }} {{ 1 is iterable }} {{ l is iterable }} {{ nothing is iterable }} {{ (l | map('string')) is iterable }} {{ range(3) is iterable }} {{ d.keys() is iterable }}
{{ 'abc' is lower }} {{ 'ABC' is lower }} {{ '1' is lower }} {{ 'ABC' is upper }} {{ 1 is upper }} {{ d is mapping }} {{ l is mapping }} {{ none is none }} {{ nothing is none }} {{ false is none }} {{ 0 is none }}
{{ none is sameas none }} {{ true is sameas true }} {{ 1 is sameas true }} {{ l is sameas l }} {{ [] is sameas [] }} {{ 5 is sameas 5 }} {{ 'a' is sameas 'b' }} {{ x is sameas none }}
{{ l is sequence }} {{ 'a' is sequence }} {{ d is sequence }} {{ 1 is sequence }} {{ range(3) is sequence }} {{ (l | map('string')) is sequence }} {{ d.keys() is sequence }} {{ (1,) is sequence }} {{ nothing is sequence }}
{{ 'a' is string }} {{ 1 is string }} {{ ('<' | e) is string }} {{ nothing is string }} {{ nothing is undefined }} {{ l is undefined }} {{ 1 is not string }} {{ not 1 is string }} {{ 'a' is string and 1 is number }} {{ l | length is eq 3 }}
{{ 1 is divisibleby 0 }}
{{ 'a' is odd }}
{{ 1 is defined(1) }}
{{ 1 is eq }}
{{ 1 is string is string }}
{{ nothing is odd }}
{{ messages[0].content is string }} {{ messages[2].content is none }} {{ messages[2].tool_calls is defined }} {{ messages[0].tool_calls is defined }} {{ messages[0]['tool_calls'] is not none }}
"""

# Statements.
STATEMENTS = r"""
{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.depth }}{{ loop.depth0 }} {% endfor %}
{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}{% for x in [1, 1, 2] %}{{ loop.changed(x) }} {% endfor %}{% for x in l %}{{ loop.cycle('a', 'b') }}{% endfor %}
{% for x in [] %}x{% else %}none{% endfor %} {% for x in l %}{{ x }}{% else %}none{% endfor %} {% for x in l if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }}{{ loop.last }} {% else %}none{% endfor %} {% for x in l if x > 9 %}x{% else %}none{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %} {% for k in d %}{{ k }}{% endfor %} {% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %} {% for c in 'abc' %}{{ c }}.{% endfor %} {% for (a, b) in [(1, 2)] %}{{ a + b }}{% endfor %}
{% for a, b in [(1, 2, 3)] %}{% endfor %}
{% for a, b in [1] %}{% endfor %}
{% for x in 5 %}{% endfor %}
{% for x in none %}{% endfor %}
{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %} {% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %} {% for x in [1, 2] %}{% for y in [1, 2] %}{% if y == 2 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{% endfor %}
{% for n in tree recursive %}{{ n.v }}{{ loop.depth }}{% if n.kids %}({{ loop(n.kids) }}){% endif %}{% endfor %}
{% for n in l %}{{ loop(n) }}{% endfor %}
{% set x = 1 %}{% for i in l %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }} {% if true %}{% set x = 5 %}{% endif %}{{ x }} {% for x in l %}{% endfor %}{{ x }}
{% set a, b = 1, 2 %}{{ a }}{{ b }} {% set (a, b) = (b, a) %}{{ a }}{{ b }} {% set t = 1, 2 %}{{ t }} {% set x %}a{{ 1 }}b{% endset %}{{ x }}{{ x | length }} {% set x | upper | replace('A', 'z') %}abc{% endset %}{{ x }}
{% set ns = namespace(found=false) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.found }}
{% macro f(a, b=2, c='x') %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(1, c='z') }}{{ f(b=1, a=2) }}{{ f() }}{{ f(*[1, 2], **{'c': 3}) }}
{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, x=3) }} {% macro g(a) %}{{ a }}{{ varargs | length }}{% endmacro %}{{ g(1, 2, 3) }} {{ f.name }} {{ g.arguments }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, b=2) }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, a=2) }}
{% macro f(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }} {% macro r(n) %}{{ n }}{% if n > 0 %}{{ r(n - 1) }}{% endif %}{% endmacro %}{{ r(5) }} {% set y = 1 %}{% macro h() %}{{ y }}{% endmacro %}{{ h() }}{% set y = 2 %}{{ h() }}
{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}x{{ 1 + 1 }}{% endcall %} {% macro g(l) %}{% for x in l %}{{ caller(x) }}{% endfor %}{% endmacro %}{% call(v) g([1, 2]) %}[{{ v }}]{% endcall %}
{% macro f() %}x{% endmacro %}{% call f() %}y{% endcall %}
{% macro f() %}{{ caller is defined }}{% endmacro %}{{ f() }}
{% macro a(x) %}{{ x | upper }}{% endmacro %}{{ a('q') | lower }}{{ a('q') ~ a('r') }}{{ a('q') | length }}{{ a('q') == 'Q' }}
{% filter upper %}a{{ 'b' }}c{% endfilter %} {% filter replace('a', 'b') | upper %}aXa{% endfilter %} {% filter indent(2, true) %}a{% endfilter %}
{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}| {% with %}{% set q = 5 %}{{ q }}{% endwith %}{{ q }}| {% set z = 1 %}{% with z = 2, y = z %}{{ z }}{{ y }}{% endwith %}
{% if 1 %}a{% elif 2 %}b{% else %}c{% endif %}{% if 0 %}a{% elif 2 %}b{% else %}c{% endif %}{% if 0 %}a{% elif 0 %}b{% else %}c{% endif %}{% if not yes %}n{% endif %}
{# comment #}a{#- b -#} c {#{{ 1 }}#}d {% raw %}{{ x }}{% y %}{% endraw %} {%- raw -%} {{ a }} {%- endraw -%} e
{% generation %}a{{ 1 }}{% endgeneration %}{%- generation -%} b {%- endgeneration %}{% for m in messages[:1] %}{% generation %}{{ m.role }}{% set z = 1 %}{% endgeneration %}{{ z }}{% endfor %}
{% print 1, 2 %}{% print 'a' %}
{% do 1 %}
{% include 'x' %}
{% import 'x' as y %}
{% from 'x' import y %}
{% extends 'x' %}
{% nope %}
{% endif %}
{% if 1 %}
{% for x in l %}
{{ a
{{ 'a
{{ 1 + }}
{{ (1 }}
{{ [1, }}
{{ 1 2 }}
{{ }}
{% set 1 = 2 %}
{% set true = 2 %}
{{ f(a=1, 2) }}
{{ f(**a, *b) }}
{% break %}
{{ {1: 2, } }} {{ [1, 2, ] }} {{ (1, 2, ) }} {{ dict(a=1, ) }} {{ 1, 2 }} {{ 1, }}
{% macro f(a=1, b) %}{% endmacro %}
{{ 1 if }}
{{ loop }}
{{ $ }}
{{ "a" "b" ~ 'c' }} {{ 'a' 'b' | upper }} {{ ('a' ~ 'b') | upper }} {{ 'a' ~ 'b' | upper }} {{ -1 | abs }} {{ 2 * 3 | string * 2 }} {{ 'x' if 1 is eq 1 else 'y' }} {{ 'a' in ['a'] and 'b' not in ['a'] }}
{{ messages | length }}{{ messages | map(attribute='role') | join(', ') }}{{ (messages | last).role }}{{ messages[1:] | length }}{{ messages[0]['content'].strip() }}
"""

# White space; these are written as Python strings.
SPACE = [
    "a\r\n{% if true %}b{% endif %}\r\nc\r\n", "a\r{% if true %}\rb{% endif %}", "a\n", "a\n\n", "a\r\n", "\n", "",
    "  {% if true %}\n  a\n  {% endif %}\n  b", "  {%+ if true %}\n a{%+ endif %}\n", "a  {%- if true -%}  b  {%- endif -%}  c",
    "a\n  {{ 1 }}\n  b", "a \n {{- 1 -}} \n b", "a {{+ 1 }} b", "  {# c #}\n  a\n  {#- d #}\n b {# e -#}\n c {#+ f #}\n",
    "{% for x in [1, 2] %}\n  {{ x }}\n{% endfor %}\nend", "{% for x in [1, 2] +%}\n{{ x }}{% endfor %}", "x {% if true %} y {% endif %} z",
    "\t{% if true %}\ta{% endif %}\t", "a\n\n  {% if true %}b{% endif %}", "{% if true %}\n\n\na\n\n{% endif %}\n\n", "{{ 'a\nb' }}", "{{ 'a\r\nb' | length }}",
    "{% raw %}\n  a\n  {% endraw %}\nb", "  {% raw %} x {% endraw +%}\n y", "{%- raw %}\n a{% endraw %}", "{% set x %}\n  a\n{% endset %}[{{ x }}]",
    "\u2003{% if true %}a{% endif %}", "a\u00a0{%- if true %}b{% endif %}", "{{ 1 }}\n{{ 2 }}\n", "{{ 1 }}{#\n#}\n{{ 2 }}",
    "{% macro f() %}\n  x\n{% endmacro %}\n{{ f() }}", "{%if true%}a{%endif%}", "{{1}}{{'}}'}}{{ {'a':1}['a'] }}{{ {'a': {'b': 2}}.a.b }}",
    "a{# unclosed", "{% raw %}a", "{% if true\n  and true %}x{% endif %}", "{ { % } #}", "{{ '{{ 1 }}' }}{{ '{% x %}' }}", "a %} b }} c #}",
    "  {%- if true %}\n  x\n  {%- endif %}\n", "{%- if true %} a{% endif -%}\n\n b", "\n\n{%- if true %}a{% endif %}", "x{% if true %}\n{% endif %}y",
    "{% if true %}{# c #}\n\nb{% endif %}", "a {%- set x = 1 %}\nb{{ x }}", "\x1c{%- if true %}a{% endif %}", "a\x0b{%- if true %}b{% endif %}",
]
