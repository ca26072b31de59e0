//! Writes a target's seeds and words for libFuzzer: `seeds TARGET FOLDER DICTIONARY`.

use std::path::Path;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, folder, dictionary] = arguments.as_slice() else {
        panic!("seeds TARGET FOLDER DICTIONARY");
    };
    let target = gimbal_fuzz::find(name).expect("a target");
    std::fs::create_dir_all(folder).expect("a folder");
    for (i, seed) in (target.seeds)().iter().enumerate() {
        std::fs::write(Path::new(folder).join(format!("seed{i}")), seed).expect("a file");
    }
    let quoted = |word: &&str| {
        let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\x0A");
        format!("\"{escaped}\"\n")
    };
    let words: String = target.words.iter().map(quoted).collect();
    std::fs::write(dictionary, words).expect("a file");
}
