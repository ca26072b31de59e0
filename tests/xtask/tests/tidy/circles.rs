//! No circle of files: who reads a file needs to read only what it names, and never itself again.
//!
//! An edge is a path of the crate that a file names outside its tests. A name that a module only
//! passes on (`use child::Name`) leads to the file that it comes from.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::files::files;

/// Crates without circles; one that has lost its last is added.
const CRATES: [&str; 13] = [
    "appliance/engine",
    "appliance/http",
    "backends/batch",
    "backends/cpu",
    "backends/cuda",
    "backends/hal",
    "backends/model",
    "backends/neuron",
    "backends/neuron-sys",
    "backends/onnx",
    "backends/sim",
    "tests/emulators/libcuda",
    "tests/emulators/libnrt",
];
/// Names passed on by names passed on, at most.
const STEPS_MAX: usize = 8;

/// A module's path within its crate; the root's is empty.
type Module = Vec<String>;

/// A crate's files by module.
struct Crate {
    texts: BTreeMap<Module, String>,
    /// What each module's `use` lines bring in, by name.
    names: BTreeMap<Module, BTreeMap<String, Vec<String>>>,
}

impl Crate {
    fn of<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut texts = BTreeMap::new();
        for (path, text) in files {
            let path = path.strip_suffix(".rs").unwrap_or(path);
            let mut module: Module = path.split('/').map(str::to_owned).collect();
            if module.iter().any(|part| part == "tests") {
                continue;
            }
            module.pop_if(|last| ["lib", "main", "mod"].contains(&last.as_str()));
            texts.insert(module, product(text));
        }
        let names = BTreeMap::new();
        let mut krate = Self { texts, names };
        for (module, text) in &krate.texts {
            let uses = text
                .split("use ")
                .skip(1)
                .flat_map(|rest| tree(rest.split(';').next().unwrap_or_default().trim()));
            let full = uses.filter_map(|path| krate.full(module, &path));
            let named = full.filter_map(|path| Some((path.last()?.clone(), path)));
            krate.names.insert(module.clone(), named.collect());
        }
        krate
    }

    /// A path as it stands in a module's file, from the root on; `None` where it leads elsewhere.
    fn full(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let mut base = module.clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => {
                base.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|part| part == "super") {
                    base.pop()?;
                    rest = &rest[1..];
                }
            }
            child => {
                let child = [module.as_slice(), &[child.to_owned()]].concat();
                self.texts.contains_key(&child).then_some(())?;
            }
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    /// The file that a path from the root leads to.
    fn file(&self, mut path: Vec<String>) -> Module {
        for _ in 0..STEPS_MAX {
            let known = (0..=path.len()).rev().find(|n| self.texts.contains_key(&path[..*n]));
            let (module, rest) = path.split_at(known.unwrap_or(0));
            let passed_on = rest.first().and_then(|name| self.names.get(module)?.get(name));
            match passed_on {
                Some(from) if *from != path => path = [from.as_slice(), &rest[1..]].concat(),
                _ => return module.to_vec(),
            }
        }
        path
    }

    fn edges(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let edges = |(module, text): (_, &String)| {
            let paths = paths(&without_passed_on(text))
                .into_iter()
                .filter_map(|path| self.full(module, &path));
            let files = paths.map(|path| self.file(path)).filter(|file| file != module);
            (module, files.collect())
        };
        self.texts.iter().map(edges).collect()
    }

    /// The shortest circle through each file that is in one.
    fn circles(&self) -> BTreeSet<String> {
        let edges = self.edges();
        self.texts.keys().filter_map(|file| circle(&edges, file)).collect()
    }
}

/// The shortest way from a file back to it, beginning with its least file.
fn circle(edges: &BTreeMap<&Module, BTreeSet<Module>>, file: &Module) -> Option<String> {
    let mut ways = VecDeque::from([vec![file.clone()]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in edges.get(way.last()?).into_iter().flatten() {
            if next == file {
                let least = (0..way.len()).min_by_key(|i| &way[*i])?;
                let order = way[least..].iter().chain(&way[..least]);
                let shown = |m: &Module| format!("crate::{}", m.join("::"));
                return Some(order.map(shown).collect::<Vec<_>>().join(" → "));
            }
            if seen.insert(next.clone()) {
                ways.push_back([way.as_slice(), std::slice::from_ref(next)].concat());
            }
        }
    }
    None
}

/// A file without its comments and its tests.
fn product(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    // A visibility is no use.
    code.collect::<Vec<_>>().join("\n").replace("pub(in crate::", "pub(in ")
}

/// A file without the names that it only passes on.
fn without_passed_on(text: &str) -> String {
    let statements = text.split_inclusive(';');
    let is_kept = |statement: &&str| {
        let mut words = statement.split_whitespace();
        !words.next().is_some_and(|word| word.starts_with("pub")) || words.next() != Some("use")
    };
    statements.filter(is_kept).collect()
}

/// All paths of two names and more, those of lists in braces one by one.
fn paths(text: &str) -> Vec<Vec<String>> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in text.match_indices("::") {
        let start = text[..at].rfind(|c| !is_name(c)).map_or(0, |i| i + 1);
        // Not the rest of a longer path.
        if start < at && !text[..start].ends_with("::") {
            found.extend(tree(&text[start..]));
        }
    }
    found
}

/// The paths of `a::b::{c, d::e}`; what follows them is not looked at.
fn tree(text: &str) -> Vec<Vec<String>> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let (mut prefix, mut rest) = (Vec::new(), text.trim_start());
    loop {
        if let Some(list) = rest.strip_prefix('{') {
            let ends = parts(list).into_iter().flat_map(tree);
            return ends.map(|end| [prefix.as_slice(), &end].concat()).collect();
        }
        let (name, after) = rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()));
        if !name.is_empty() {
            prefix.push(name.to_owned());
        }
        match after.strip_prefix("::") {
            Some(after) if !name.is_empty() => rest = after.trim_start(),
            _ => return vec![prefix],
        }
    }
}

/// What stands between the commas of a list, to its closing brace.
fn parts(list: &str) -> Vec<&str> {
    let (mut depth, mut first, mut found) = (0_u32, 0, Vec::new());
    for (i, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                found.push(list[first..i].trim());
                first = i + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found.retain(|part| !part.is_empty());
    found
}

#[test]
fn no_circle_of_files_is_left() {
    let all = files("rs");
    let mut problems = Vec::new();
    for name in CRATES {
        let source = format!("{name}/src/");
        let here = all.iter().filter_map(|(path, text)| {
            Some((path.to_str()?.strip_prefix(source.as_str())?, text.as_str()))
        });
        let krate = Crate::of(here);
        assert!(!krate.texts.is_empty(), "{name} has files");
        problems.extend(krate.circles().into_iter().map(|circle| format!("{name}: {circle}")));
    }
    super::files::complain(&problems);
}

#[test]
fn circles_are_found_whatever_way_they_are_written() {
    for (files, expect) in [
        (&[("lib.rs", "mod a;\nmod b;"), ("a.rs", "use crate::b::B;"), ("b.rs", "")][..], &[][..]),
        (
            &[("a.rs", "use crate::b::B;"), ("b.rs", "fn f() { crate::a::g() }")],
            &["crate::a → crate::b"],
        ),
        (
            &[("a.rs", "use crate::{c, b::{D, B}};"), ("b.rs", "use super::a;"), ("c.rs", "")],
            &["crate::a → crate::b"],
        ),
        // The parent uses its child, the child its parent.
        (
            &[("k/mod.rs", "mod v;\nfn f() { v::g() }"), ("k/v.rs", "use super::Table;")],
            &["crate::k → crate::k::v"],
        ),
        // A name that the root only passes on.
        (&[("lib.rs", "pub use a::A;"), ("a.rs", ""), ("b.rs", "use crate::A;")], &[]),
        (
            &[("lib.rs", "pub use b::B;"), ("a.rs", "use crate::B;"), ("b.rs", "use crate::a::A;")],
            &["crate::a → crate::b"],
        ),
        (&[("m/mod.rs", "pub(crate) use a::A;\nstruct B;"), ("m/a.rs", "use super::B;")], &[]),
        // Comments and tests may look anywhere.
        (
            &[
                ("a.rs", "#[cfg(test)]\nmod tests;\n// crate::b::B\n"),
                ("c.rs", "#[cfg(test)]\nmod tests {\n    use crate::b::B;\n}"),
                ("b.rs", "use crate::{a::A, c::C};"),
                ("a/tests.rs", "use crate::b::B;"),
            ],
            &[],
        ),
        (
            &[("a.rs", "use crate::b;"), ("b.rs", "use crate::c;"), ("c.rs", "use crate::a;")],
            &["crate::a → crate::b → crate::c"],
        ),
    ] {
        let found = Crate::of(files.iter().copied()).circles();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expect, "{files:?}");
    }
}
