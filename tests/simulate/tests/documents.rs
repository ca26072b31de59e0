//! `scheduler/docs/scheduler.md` names a test for each rule: they exist.

use std::fs;
use std::path::Path;

#[test]
fn every_test_named_in_the_document_exists() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = here.join("../../scheduler/docs/scheduler.md");
    let document = fs::read_to_string(document).expect("the document");
    let files = fs::read_dir(here.join("tests")).expect("the tests");
    let sources: String = files
        .map(|file| fs::read_to_string(file.expect("a file").path()).expect("a source"))
        .collect();
    let rows = document.lines().filter(|line| line.starts_with("| ") && line.contains("_"));
    let last_column = |row: &str| row.trim_end_matches(" |").rsplit('|').next().map(str::to_owned);
    let cells: String = rows.filter_map(last_column).collect();
    let names: Vec<&str> = cells.split('`').skip(1).step_by(2).collect();
    assert!(names.len() > 25, "the table was found: {names:?}");
    for name in names {
        assert!(sources.contains(&format!("fn {name}()")), "{name} is a test");
    }
}
