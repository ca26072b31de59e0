//! The laboratory's answers: repeatable, and ours at least as good as the model of vLLM's rule.

use gimbal_simulate::lab;

fn table(arguments: &[&str]) -> String {
    let mut out = Vec::new();
    lab::run_command(arguments, &mut out).expect("the arguments are right");
    String::from_utf8(out).expect("a table is text")
}

/// Columns of a policy's line: good requests a second, and the 99th percentile of pauses in ms.
fn good_and_pause(table: &str, policy: &str) -> (f64, f64) {
    let line = table.lines().find(|line| line.starts_with(policy)).expect("a line a policy");
    let number = |column: usize| {
        let words = line.split('|').flat_map(str::split_whitespace);
        words.clone().nth(column).expect("a full line").parse().expect("a number")
    };
    (number(2), number(7))
}

#[test]
fn ours_is_at_least_as_good_on_every_device_and_trace() {
    let limits = [("h100", 50.0f64), ("t4", 100.0), ("cpu2", 200.0), ("inf2", 100.0)];
    for (device, pause_ms) in limits {
        for trace in ["chat", "long", "agent", "burst"] {
            let table = table(&["--device", device, "--trace", trace, "--seconds", "60"]);
            let ours = good_and_pause(&table, "gimbal");
            let theirs = good_and_pause(&table, "vllm-model");
            assert!(ours.0 >= theirs.0, "{device} {trace}\n{table}");
            assert!(ours.1 <= pause_ms.max(theirs.1), "{device} {trace}\n{table}");
        }
    }
}

/// Shapes are those that `gimbal compile` makes unless it is told others.
#[test]
fn compiled_shapes_pad_a_quarter_of_a_chat_s_rows_at_most() {
    let table = table(&["--device", "inf2", "--policy", "gimbal", "--sweep"]);
    let lines: Vec<&str> = table.lines().filter(|line| line.contains("padded rows: ")).collect();
    assert_eq!(lines.len(), 6, "{table}");
    for line in lines {
        let numbers = line.split([' ', ';']).filter_map(|word| word.parse::<u64>().ok());
        let numbers: Vec<u64> = numbers.collect();
        let [padded, paid, ..] = numbers[..] else { panic!("{line}") };
        assert!(paid > 50_000 && 4 * padded <= paid, "{line}");
        assert!(line.contains(" 1x32x1024: ") && line.contains(" 4x1x1024: "), "{line}");
    }
}

#[test]
fn equal_seeds_give_equal_tables_and_lanes_share_the_load() {
    let lab =
        |lanes| table(&["--trace", "agent", "--seconds", "20", "--rate", "24", "--lanes", lanes]);
    assert_eq!(lab("1"), lab("1"));
    let (one, four) = (good_and_pause(&lab("1"), "gimbal"), good_and_pause(&lab("4"), "gimbal"));
    assert!(four.0 > 2.0 * one.0, "{one:?} {four:?}");
}

#[test]
fn traces_come_from_files_and_wrong_lines_are_named() {
    let path = std::env::temp_dir().join(format!("gimbal-trace-{}.csv", std::process::id()));
    std::fs::write(&path, "0.0,100,20\n0.5,100,20,1,64\n1.0,100,20,1,64\n").expect("a folder");
    let name = path.to_str().expect("a plain path");
    let page = path.with_extension("html");
    let html = page.to_str().expect("a plain path");
    let table = table(&["--trace", name, "--policy", "gimbal", "--html", html]);
    assert!(good_and_pause(&table, "gimbal").0 > 1.0, "{table}");
    let plots = std::fs::read_to_string(&page).expect("the page was written");
    assert!(plots.contains("<svg") && plots.contains("SIMULATED"), "{plots}");
    std::fs::write(&path, "0.0,100,20\nsoon,100,20\n").expect("a folder");
    let wrong = lab::run_command(&["--trace", name], &mut Vec::new());
    assert_eq!(wrong.expect_err("a word").to_string(), "line 2: seconds: soon,100,20");
    for path in [path, page] {
        std::fs::remove_file(path).expect("it was written");
    }
}
