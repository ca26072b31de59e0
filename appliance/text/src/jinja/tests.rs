//! Tests of the template language: held against Jinja itself, and against hostile templates.

use serde_json::Value as Json;

use super::*;

/// Templates by Jinja 2 as `transformers` sets it up, with what they write or that they are
/// refused; by `tests/golden/templates.py`.
const GOLDEN: &str = include_str!("../../../../tests/golden/templates.json");
/// 2025-11-24 16:05:09.
const NOW: i64 = 1_764_000_309;

/// What is an error here and no error in Jinja. Nothing may be written that Jinja does not write.
const ABSENT: &[&str] = &[
    "{{ lipsum.nope }}",
    "{{ l | random }}",
    "{{ 'x' | urlize }}",
    "{{ 'well-known fact' | wordwrap(6) }}",
    "{{ strftime_now('%-f') }}",
    "{{ strftime_now('%^f') }}",
];

fn render(source: &str, variables: &serde_json::Map<String, Json>) -> Outcome<String> {
    let meter = Meter::new(10_000);
    let values =
        variables.iter().map(|(name, value)| Ok((name.as_str(), Value::client(value, &meter)?)));
    let values = values.collect::<Outcome<Vec<_>>>()?;
    let letters = Template::new(source)?.render(values, NOW, &meter)?;
    Ok(letters.iter().map(|letter| letter.char()).collect())
}

#[test]
fn templates_write_what_jinja_writes_or_are_refused() {
    let golden: Json = serde_json::from_str(GOLDEN).expect("a golden file");
    let variables = golden["variables"].as_object().expect("variables");
    let rows = golden["templates"].as_array().expect("templates");
    assert!(rows.len() > 1000, "{}", rows.len());
    let (mut wrong, mut absent) = (Vec::new(), Vec::new());
    for row in rows {
        let source = row[0].as_str().expect("a template");
        let found = render(source, variables);
        match (row[1].as_str(), found) {
            (Some(expect), Ok(found)) if found == expect => {}
            (None, Err(fault)) => assert!(!fault.why.is_empty()),
            (Some(_), Err(_)) if ABSENT.contains(&source) => absent.push(source),
            (expect, found) => wrong.push(format!("{source}\n  {expect:?}\n  {found:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(absent.len(), ABSENT.len(), "what works now is no longer absent");
}

/// Templates that would take memory or time without end; each is an error.
const HOSTILE: &[&str] = &[
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
    "{% set n = namespace(s='x') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
    "{% set n = namespace(s='x') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "{% set n = namespace(s=[0]) %}{% for i in range(40) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "{% set n = namespace(s=(0,)) %}{% for i in range(40) %}{% set n.s = n.s * 2 %}{% endfor %}",
    "{% set n = namespace(s=[0]) %}{% for i in range(60) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s }}",
    "{% set n = namespace(s=[0]) %}{% for i in range(60) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s | tojson }}",
    "{% set n = namespace(s=[0], t=[0]) %}{% for i in range(60) %}{% set n.s = [n.s, n.s] %}{% set n.t = [n.t, n.t] %}{% endfor %}{{ n.s == n.t }}",
    "{% set n = namespace(s=(0,)) %}{% for i in range(60) %}{% set n.s = (n.s, n.s) %}{% endfor %}{{ {n.s: 1} }}",
    "{% set n = namespace(s=[0]) %}{% for i in range(99999) %}{% set n.s = [n.s] %}{% endfor %}",
    "{% set n = namespace(s=[0]) %}{% for i in range(99999) %}{% set n.s = [n.s] | select %}{% endfor %}",
    "{% set n = namespace(s={}) %}{% for i in range(99999) %}{% set n.s = {1: n.s} %}{% endfor %}",
    "{% set n = namespace() %}{% set n.n = n %}",
    "{% set n = namespace() %}{% set n.n = [[n]] %}",
    "{% set n = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(40) %}{% set n.s = n.s.replace('x', 'xxxxxxxxxxxxxxxx') %}{% endfor %}",
    "{{ 'x' * 999999999 }}",
    "{{ 'x' * 10 ** 30 }}",
    "{{ ([0] * 999999999) | length }}",
    "{{ 'x'.center(999999999) }}",
    "{{ 'x' | center(999999999) }}",
    "{{ 'x'.ljust(999999999) | length }}",
    "{{ 'x'.rjust(999999999) | length }}",
    "{{ '1'.zfill(999999999) | length }}",
    "{{ '\t'.expandtabs(999999999) | length }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '%.999999999d' % 1 }}",
    "{{ '%.999999999f' % 1 }}",
    "{{ '%*d' % (999999999, 1) }}",
    "{{ '%999999999s' | format('x') }}",
    "{{ '{:999999999}'.format(1) }}",
    "{{ '{:>999999999}'.format('x') }}",
    "{{ '{:.999999999f}'.format(1) }}",
    "{{ '{:{}}'.format(1, 999999999) }}",
    "{{ 'a\n' | indent(999999999) }}",
    "{{ 'a\n' * 9999 | indent('x' * 99999) }}",
    "{{ range(90000) | list | tojson(indent=999999999) | length }}",
    "{{ range(90000) | list | tojson(indent='x' * 90000) | length }}",
    "{{ range(90000) | list | tojson(separators=('x' * 90000, 'x')) | length }}",
    "{{ [1] | batch(999999999, 0) | list | length }}",
    "{{ [1] | slice(999999999) | list | length }}",
    "{{ range(99999) | join('x' * 90000) | length }}",
    "{{ ('x' * 90000).join(range(99999) | map('string')) | length }}",
    "{{ ('a' * 90000) | replace('a', 'a' * 90000) | length }}",
    "{{ ('a' * 90000) | replace('', 'a' * 90000) | length }}",
    "{{ ('a ' * 90000) | wordwrap(1, wrapstring='x' * 90000) | length }}",
    "{{ ('a' * 9000000) | list | length }}",
    "{% for i in range(3000) %}{% set x = range(99999) | sort %}{% endfor %}",
    "{% for i in range(30000) %}{% set x = range(99999) | unique | list %}{% endfor %}",
    "{% for i in range(90000) %}{% set x = range(99999) | sum %}{% endfor %}",
    "{% for i in range(90000) %}{% if 'x' in (range(99999) | list) %}{% endif %}{% endfor %}",
    "{% for i in range(90000) %}{% set x = range(99999) | min %}{% endfor %}",
    "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "{% macro f() %}{{ caller() }}{{ f() }}{% endmacro %}{% call f() %}x{% endcall %}",
    "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{{ f() }}",
    "{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %}",
    "{% set s = 'a' * 90000 %}{% for i in range(90000) %}{% set x = s.count('aaaaaaaaaaab') %}{% endfor %}",
    "{{ ('a' * 900000).count('a' * 450000 ~ 'b') }}",
    "{{ ('a' * 900000).split('a' * 450000 ~ 'b') }}",
    "{{ ('a' * 900000).replace('a' * 450000 ~ 'b', '') }}",
    "{{ ('a' * 900000).rfind('b' ~ 'a' * 450000) }}",
    "{{ ('a' * 900000).strip('b' * 900000) }}{{ ('a' * 900000).strip('b' * 899999 ~ 'a') }}",
    "{% set s = 'a' * 900000 %}{% for i in range(90000) %}{% if s == s ~ '' %}{% endif %}{% endfor %}",
    "{% set s = 'a' * 900000 %}{% for i in range(90000) %}{% set x = s | upper %}{% endfor %}",
    "{% set s = 'a' * 900000 %}{% for i in range(90000) %}{% set x = s.isalpha() %}{% endfor %}",
    "{% set s = 'a' * 900000 %}{% for i in range(90000) %}{% set x = s | wordcount %}{% endfor %}",
    "{% set s = 'a' * 900000 %}{% for i in range(90000) %}{% set x = s[1:] %}{% endfor %}",
    "{% set s = '<' * 900000 %}{% for i in range(90000) %}{% set x = s | striptags %}{% endfor %}",
    "{% set s = '%' * 900000 %}{% for i in range(90000) %}{% set x = strftime_now(s) %}{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(999) %}{% set x = joiner('x' * 9999) %}{% endfor %}{% endfor %}",
    "{{ 2 ** 99999999999 }}",
    "{{ range(99999999999) | length }}",
    "{{ range(10 ** 37, 10 ** 38, 1) | list }}",
    "{% set n = namespace(a=1) %}{% for i in range(99999) %}{% set n.a = n.a * 3 %}{% endfor %}",
    "{% for x in range(99999) if range(99999) | list %}{% endfor %}",
    "{{ dict(range(99999) | map('string') | batch(2)) | pprint }}{{ [[[[[[1]]]]]] * 99999999 }}",
];

#[test]
fn hostile_templates_end_with_an_error() {
    for source in HOSTILE {
        // As on the smallest stack there is for it: half of tokio's threads have.
        let work = || render(source, &serde_json::Map::new());
        let result = std::thread::scope(|scope| {
            let small = std::thread::Builder::new().stack_size(1 << 20);
            small.spawn_scoped(scope, work).expect("a thread").join().expect("no panic")
        });
        assert!(result.is_err(), "{source}");
    }
}

#[test]
fn deep_data_and_deep_templates_do_not_overflow() {
    let mut deep = Json::from(1);
    for _ in 0..127 {
        deep = Json::Array(vec![deep]);
    }
    let variables = serde_json::Map::from_iter([("x".to_owned(), deep)]);
    for source in [
        "{{ x }}",
        "{{ x | tojson }}",
        "{{ x == x }}",
        "{{ x < x }}",
        "{{ [x] * 100 | length }}",
        "{% macro f(x) %}{{ f(x[0]) if x is sequence else x }}{% endmacro %}{{ f(x) }}",
    ] {
        let _: Outcome<String> = render(source, &variables);
    }
}
