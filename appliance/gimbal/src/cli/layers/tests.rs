//! What each kind of file may say, through the command line.

use std::fs;

use super::*;
use crate::cli::command;
use crate::cli::fixture::Folder;

/// Settings of `gimbal plan FOLDER` where the folder holds that file, and what was ignored of it.
fn beside_model(name: &str, text: &[u8]) -> (Settings, Vec<String>) {
    let folder = Folder::new();
    folder.expand("== t.jinja\n{{ messages }}\n== secret\n== dir deep\n");
    fs::write(folder.0.join(name), text).expect("ours");
    let path = folder.0.display().to_string();
    let matches = command().try_get_matches_from(["gimbal", "plan", path.as_str()]);
    let matches = matches.expect("a command line");
    let (_, matches) = matches.subcommand().expect("plan");
    let settings = resolve(matches).expect("a model's files stop no boot").settings;
    let is_there = |told: &&Ignored| told.source.to_string().contains(name);
    let ignored = settings.ignored().iter().filter(is_there).map(ToString::to_string);
    let ignored: Vec<String> = ignored.map(|told| told.replace(&path, "")).collect();
    (settings, ignored)
}

/// Every setting of process scope, in every file of a model's folder.
#[test]
fn a_models_folder_has_no_say_in_what_concerns_the_process() {
    for setting in TABLE {
        let is_process = matches!(setting.scope, gimbal_settings::Scope::Process(_));
        if !is_process {
            continue;
        }
        let value = match setting.kind {
            gimbal_settings::Kind::Integer { max, .. } => max.to_string(),
            gimbal_settings::Kind::Choice(words) => words.last().map_or("", |w| w).to_owned(),
            gimbal_settings::Kind::Flag => "true".to_owned(),
            _ => "/tmp/evil".to_owned(),
        };
        for (name, text) in [
            ("serving.properties", format!("{}={value}\n", setting.key)),
            ("serving.yaml", format!("{}: {value}\n", setting.key)),
        ] {
            let (settings, ignored) = beside_model(name, text.as_bytes());
            assert_eq!(ignored.len(), 1, "{name} {}: {ignored:?}", setting.key);
            let expect = format!("a model's folder has no say in {}", setting.key);
            assert!(ignored[0].contains(&expect), "{ignored:?}");
            let source = &settings.entry(setting.key).source;
            assert!(!source.to_string().contains(name), "{source}");
        }
    }
}

#[test]
fn a_models_folder_names_only_what_lies_in_it() {
    let cases = [
        ("serving.properties", "chat_template=t.jinja", true),
        ("serving.yaml", "chat_template: t.jinja", true),
        ("serving.properties", "chat_template=/etc/hostname", false),
        ("serving.yaml", "chat_template: ../x", false),
        ("serving.yaml", "chat_template: deep", false),
        ("serving.properties", "chat_template=missing", false),
        ("generation_config.json", "{\"chat_template\": \"/etc/hostname\"}", false),
        ("generation_config.json", "{\"model\": \"/etc\", \"default_host\": \"x\"}", false),
    ];
    for (name, text, is_taken) in cases {
        let (settings, ignored) = beside_model(name, text.as_bytes());
        assert_eq!(settings.text("chat_template").is_some(), is_taken, "{text}: {ignored:?}");
        let is_told = !is_taken && name != "generation_config.json";
        assert_eq!(ignored.is_empty(), !is_told, "{text}: {ignored:?}");
    }
}

/// **Source**: public reports of LMI configurations that other servers start with.
#[test]
fn values_of_other_servers_beyond_ours_are_told_and_stop_nothing() {
    let cases: [(&str, &[u8], &str, Option<&str>); 21] = [
        (
            "max_rolling_batch_prefill_tokens",
            b"option.max_num_batched_tokens=131072",
            "256",
            Some("65536"),
        ),
        ("job_queue_size", b"job_queue_size=0", "1000", Some("from 1")),
        ("job_queue_size", b"job_queue_size=-1", "1000", Some("from 1")),
        ("job_queue_size", b"option.job_queue_size=1e3", "1000", Some("whole number")),
        ("max_model_len", b"option.max_model_len=-1", "auto", Some("from 2")),
        ("max_model_len", b"option.max_model_len=", "auto", Some("whole number")),
        ("max_model_len", b"option.max_model_len=99999999999999999999", "auto", Some("whole")),
        ("max_model_len", b"option.max_model_len = 4096  ", "4096", None),
        ("max_model_len", b"option.max_model_len 4096", "4096", None),
        ("max_model_len", b"option.max_model_len=1\noption.max_model_len=64", "64", Some("line 2")),
        (
            "max_model_len",
            b"option.max_model_len=64\noption.max_model_len=-1",
            "auto",
            Some("line 2"),
        ),
        ("max_rolling_batch_size", b"option.max_rolling_batch_size=auto", "32", Some("4096")),
        ("max_rolling_batch_size", b"\xef\xbb\xbfoption.max_num_seqs:7", "7", None),
        ("output_formatter", b"option.output_formatter=my_formatter", "auto", Some("jsonlines")),
        ("output_formatter", b"option.output_formatter=jsonlines ", "jsonlines", None),
        (
            "enable_prefix_caching",
            b"option.enable_prefix_caching=yes",
            "true",
            Some("true or false"),
        ),
        ("served_model_name", b"option.served_model_name=caf\\u00e9", "caf\u{e9}", None),
        ("served_model_name", b"option.served_model_name=caf\xe9", "caf\u{e9}", None),
        ("served_model_name", b"option.served_model_name=a\\\n  b", "ab", None),
        ("served_model_name", b"option.served_model_name=\\u12", "auto", Some("hexadecimal")),
        ("max_model_len", b"option.rolling_batch=vllm", "auto", Some("always on")),
    ];
    for (key, text, expect, why) in cases {
        let (settings, ignored) = beside_model("serving.properties", text);
        let shown = text.escape_ascii();
        assert_eq!(settings.entry(key).value.to_string(), expect, "{shown}: {ignored:?}");
        assert_eq!(ignored.is_empty(), why.is_none(), "{shown}: {ignored:?}");
        let is_why = |told: &String| why.is_some_and(|why| told.contains(why));
        assert_eq!(ignored.iter().any(is_why), why.is_some(), "{shown}: {ignored:?}");
    }
}

#[test]
fn a_models_yaml_that_cannot_be_is_told() {
    let cases = [
        ("max_rolling_batch_size: nope", "is no max_rolling_batch_size"),
        ("max_rolling_batch_sise: 4", "did you mean max_rolling_batch_size?"),
        ("- 1\n- 2", "all of it: "),
        ("port: [1", "all of it: "),
    ];
    for (text, expect) in cases {
        let (_, ignored) = beside_model("serving.yaml", text.as_bytes());
        assert_eq!(ignored.len(), 1, "{text}: {ignored:?}");
        assert!(ignored[0].contains(expect), "{text}: {ignored:?}");
    }
    let (_, ignored) = beside_model("serving.yaml", b"max_model_len: 12 # \xff");
    assert!(ignored[0].contains("all of it: "), "{ignored:?}");
}

#[test]
fn the_working_folder_is_known_by_any_name() {
    let here = std::env::current_dir().expect("there is one");
    let around = format!("../{}", here.file_name().unwrap_or_default().to_string_lossy());
    for name in ["", ".", "./", around.as_str(), here.to_str().expect("text")] {
        assert!(is_working_folder(Path::new(name)), "{name:?}");
    }
    for name in ["..", "src", "missing", "/"] {
        assert!(!is_working_folder(Path::new(name)), "{name:?}");
    }
}

#[test]
fn of_a_flag_that_is_given_twice_the_last_one_counts() {
    let line = ["gimbal", "plan", "--port", "1", "--host", "x", "--port", "2", "--host=y"];
    let matches = command().try_get_matches_from(line).expect("a command line");
    let (_, matches) = matches.subcommand().expect("plan");
    let settings = resolve(matches).expect("right").settings;
    assert_eq!((settings.integer("port"), settings.text("host")), (Some(2), Some("y")));
}

/// What `gimbal serve` makes of a line: names with paths and queue sizes, or why not.
fn models(line: &[&str]) -> Result<Vec<(String, String, u64)>, String> {
    let line = ["gimbal", "serve"].iter().chain(line);
    let matches = command().try_get_matches_from(line).map_err(|e| e.to_string())?;
    let (_, matches) = matches.subcommand().expect("serve");
    let asked = resolve(matches).map_err(|failure| failure.to_string())?;
    let of = |wanted: &Wanted| {
        let path = wanted.path.display().to_string();
        let name = wanted.name.clone().unwrap_or_default();
        (name, path, wanted.settings.whole("job_queue_size"))
    };
    Ok(asked.models.iter().map(of).collect())
}

#[test]
fn several_models_have_names_paths_and_settings_of_their_own() {
    let folder = Folder::new();
    folder.expand(
        "== a/serving.properties\noption.job_queue_size=5\n== b.gguf\n\
         == two.yaml\njob_queue_size: 6\nmodels:\n  chat:\n    model: FOLDER/b.gguf\n    \
         job_queue_size: 7\n  plain:\n    model: FOLDER/b.gguf\n",
    );
    let at = |name: &str| folder.0.join(name).display().to_string();
    let text = fs::read_to_string(at("two.yaml")).expect("ours");
    let text = text.replace("FOLDER", &folder.0.display().to_string());
    fs::write(at("two.yaml"), text).expect("ours");
    let (a, b) = (at("a"), at("b.gguf"));
    let model = |name: &str, path: &str, queue: u64| (name.to_owned(), path.to_owned(), queue);
    let (named_a, named_b) = (format!("--model=a={a}"), format!("--model=b={b}"));
    let config = format!("--config={}", at("two.yaml"));
    let check = |line: &[&str], expect: Vec<(String, String, u64)>| {
        assert_eq!(models(line), Ok(expect), "{line:?}");
    };
    check(&[&a], vec![model("", &a, 5)]);
    check(&["--model", &b, "--model", &a], vec![model("", &a, 5)]);
    check(&[&named_a, &named_b], vec![model("a", &a, 5), model("b", &b, 1000)]);
    check(&[&named_a, "--job-queue-size", "9"], vec![model("a", &a, 9)]);
    check(&[&config], vec![model("chat", &b, 7), model("plain", &b, 6)]);
    check(
        &[&config, &named_a],
        vec![model("chat", &b, 7), model("plain", &b, 6), model("a", &a, 5)],
    );
    let moved = format!("--model=plain={a}");
    check(&[&config, &moved], vec![model("chat", &b, 7), model("plain", &a, 5)]);
    // One model by its path, whatever the file has.
    check(&[&config, &b], vec![model("", &b, 6)]);
    for (line, expect) in [
        (&[&named_a[..], &named_a][..], "two models have the name \"a\""),
        (&[&named_a, "--model=a="], "a path is missing"),
        (&[&named_a, &b], "has no name, and other models have"),
        (&[&named_a, "--model", &b], "has no name, and other models have"),
    ] {
        let why = models(line).expect_err("refused");
        assert!(why.contains(expect), "{line:?}: {why}");
    }
}

#[test]
fn who_listens_to_all_addresses_can_say_why() {
    let check = |name: &str, host: &str, source: &str| {
        let folder = Folder::of(&format!("containers/{name}"));
        let machine = Machine::read(&folder.0, &gimbal_machine::Around::default());
        let why: Option<&'static str> = in_container(&machine.identity).map(|why| &*why.leak());
        let settings = Settings::resolve(&Facts { in_container: why }, &Given::default());
        let settings = settings.expect("nothing is said");
        let entry = settings.entry("host");
        assert_eq!((settings.text("host"), entry.source.to_string()), (Some(host), source.into()));
    };
    let containerd = "default: in a container: containerd (mount of /)";
    check("containerd-v2", "0.0.0.0", containerd);
    check("crio-v2", "0.0.0.0", "default: in a container: CRI-O (mount of /)");
    let none = "default: not in a container: this machine only";
    check("host-of-containers", "127.0.0.1", none);
    let sagemaker = Identity { sagemaker: Some("variable SM_X".to_owned()), ..Identity::default() };
    assert_eq!(in_container(&sagemaker).as_deref(), Some("under SageMaker: variable SM_X"));
}

/// What devices bring is the model's: the process was set up before any was looked for.
#[test]
fn devices_change_nothing_of_the_process() {
    let settings =
        Settings::resolve(&Facts::default(), &Given::default()).expect("nothing is said");
    let on_device = on("sim", &settings).expect("our own file");
    let (mut changed, mut of_process) = (0, 0);
    for setting in TABLE {
        let is_same = on_device.entry(setting.key) == settings.entry(setting.key);
        changed += usize::from(!is_same);
        let is_process = matches!(setting.scope, gimbal_settings::Scope::Process(_));
        of_process += usize::from(!is_same && is_process);
    }
    assert!(changed > 0, "the file says something");
    assert_eq!(of_process, 0);
    assert_eq!(on("onnx", &settings).expect("no file").hash(), settings.hash());
}
