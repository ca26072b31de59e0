//! Containers, and what is none: each tree in `machines/containers` says what is expected of it and
//! where it comes from.

mod fixture;

use std::path::Path;

use fixture::Folder;
use gimbal_machine::{Around, Imds, Machine};

/// What a tree says of itself before its first file.
fn told<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let head = text.split("\n== ").next().unwrap_or_default();
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn each_tree_is_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines/containers");
    let mut count = [0, 0];
    for entry in std::fs::read_dir(folder).expect("trees") {
        let path = entry.expect("a tree").path();
        let shown = path.display();
        let text = std::fs::read_to_string(&path).expect("a text");
        let expect = told(&text, "Expect").unwrap_or_else(|| panic!("{shown} expects nothing"));
        assert!(told(&text, "Source").is_some(), "{shown} has no source");
        let pairs = told(&text, "Environment").unwrap_or_default().split_whitespace();
        let pair = |pair: &str| pair.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned()));
        let around = Around { environment: pairs.filter_map(pair).collect(), imds: Imds::Never };
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        let tree = Folder::of(&format!("containers/{name}"));
        let container = Machine::read(&tree.0, &around).identity.container;
        assert_eq!(container.as_deref().unwrap_or("none"), expect, "{shown}");
        count[usize::from(container.is_some())] += 1;
    }
    assert!(count[0] >= 7 && count[1] >= 18, "{count:?} trees");
}
