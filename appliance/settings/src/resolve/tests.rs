//! Layers, names and errors.

use super::*;

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

fn file(path: &str, format: Format, text: &str) -> ConfigFile {
    let origin = match format {
        Format::Yaml => Origin::Operator,
        Format::Properties | Format::GenerationConfig => Origin::Model,
    };
    ConfigFile { path: path.to_owned(), bytes: text.into(), format, origin, section: None }
}

fn error(files: Vec<ConfigFile>, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
    let (environment, flags) = (pairs(environment), pairs(flags));
    let given = Given { files, environment, flags, ..Given::default() };
    match Settings::resolve(&Facts::default(), &given) {
        Ok(_) => "no error".to_owned(),
        Err(e) => e.to_string(),
    }
}

/// Default, YAML, `serving.properties`, variable, flag: the later wins and remembers the others.
#[test]
fn later_layers_win_and_remember_what_they_beat() {
    let given = Given {
        files: vec![
            file("family.yaml", Format::Yaml, "# a family\nmax_rolling_batch_size: 4\nport: 81\n"),
            file(
                "serving.properties",
                Format::Properties,
                "engine=Python\noption.max_rolling_batch_size=8\noption.quantize=awq\njob_queue_size=7\n",
            ),
        ],
        environment: pairs(&[("OPTION_MAX_ROLLING_BATCH_SIZE", "16"), ("OPTION_ENTRYPOINT", "x")]),
        flags: pairs(&[("max-rolling-batch-size", "64")]),
        ..Given::default()
    };
    let settings = Settings::resolve(&Facts::default(), &given).expect("all legal");
    let entry = settings.entry("max_rolling_batch_size");
    assert_eq!(entry.value, Value::Integer(64));
    assert_eq!(entry.source.to_string(), "flag --max-rolling-batch-size");
    let beaten: Vec<String> = entry.overrode.iter().map(|(v, s)| format!("{v} ({s})")).collect();
    assert_eq!(
        beaten,
        [
            "32 (default: LMI's default)",
            "4 (family.yaml:2)",
            "8 (serving.properties:2)",
            "16 (environment OPTION_MAX_ROLLING_BATCH_SIZE)",
        ]
    );
    assert_eq!(settings.integer("port"), Some(81));
    assert_eq!(settings.integer("job_queue_size"), Some(7));
    let ignored: Vec<String> = settings
        .ignored()
        .iter()
        .map(|i| format!("{} ({}): {}", i.name, i.source, i.why))
        .collect();
    assert_eq!(
        ignored,
        [
            "engine (serving.properties:1): one engine serves every model",
            "option.quantize (serving.properties:3): weights keep the exact values of their file",
            "OPTION_ENTRYPOINT (environment OPTION_ENTRYPOINT): no Python runs here",
        ]
    );
}

#[test]
fn our_own_variable_beats_a_foreign_one() {
    let environment = pairs(&[("GIMBAL_JOB_QUEUE_SIZE", "5"), ("SERVING_JOB_QUEUE_SIZE", "6")]);
    let given = Given { environment, ..Given::default() };
    let settings = Settings::resolve(&Facts::default(), &given).expect("all legal");
    assert_eq!(settings.integer("job_queue_size"), Some(5));
}

#[test]
fn own_names_must_exist_and_foreign_ones_may_be_anything() {
    let expect = "flag --ports is given, but there is no such setting; did you mean --port?";
    assert_eq!(error(vec![], &[], &[("ports", "1")]), expect);
    let expect = "GIMBAL_JOB_QUEUE_SISE is set, but there is no such setting; \
                  did you mean GIMBAL_JOB_QUEUE_SIZE?";
    assert_eq!(error(vec![], &[("GIMBAL_JOB_QUEUE_SISE", "1")], &[]), expect);
    assert_eq!(error(vec![], &[("OPTION_NO_SUCH", "1"), ("SERVING_X", "")], &[]), "no error");
    let yaml = file("gimbal.yaml", Format::Yaml, "host: x\nlog_levell: info\n");
    let expect = "gimbal.yaml:2 says log_levell, but there is no such setting; \
                  did you mean log_level?";
    assert_eq!(error(vec![yaml], &[], &[]), expect);
}

#[test]
fn illegal_values_name_key_source_and_range() {
    let expect = "port = \"x\" (from environment GIMBAL_PORT): \
                  it must be a whole number from 0 to 65535";
    assert_eq!(error(vec![], &[("GIMBAL_PORT", "x")], &[]), expect);
    let expect =
        "log_format = \"xml\" (from flag --log-format): it must be one of auto, text, json";
    assert_eq!(error(vec![], &[], &[("log-format", "xml")]), expect);
    let yaml = file("gimbal.yaml", Format::Yaml, "port:\n  - 1\n");
    let found = error(vec![yaml], &[], &[]);
    assert!(found.starts_with("gimbal.yaml: "), "{found}");
    assert!(found.contains("it must be a flat map of settings"), "{found}");
}

/// With several models, what names one of them beats what the whole process was told.
#[test]
fn a_model_among_several_has_a_section_of_its_own() {
    let text = "job_queue_size: 5\nmodels:\n  chat:\n    model: a.gguf\n    job_queue_size: 7\n  \
                small:\n    model: b.gguf\nport: 90\n";
    let own = file("gimbal.yaml", Format::Yaml, text);
    assert_eq!(own.models().expect("it is right"), ["chat", "small"]);
    let resolved = |section: &str, flags: &[(&str, &str)]| {
        let named = ConfigFile { section: Some(section.to_owned()), ..own.clone() };
        let given = Given {
            files: vec![own.clone()],
            of_model: vec![named],
            environment: pairs(&[("GIMBAL_JOB_QUEUE_SIZE", "6")]),
            flags: pairs(flags),
            ..Given::default()
        };
        Settings::resolve(&Facts::default(), &given).expect("all legal")
    };
    let chat = resolved("chat", &[]);
    let entry = chat.entry("job_queue_size");
    assert_eq!(
        (entry.value.to_string().as_str(), entry.source.to_string().as_str()),
        ("7", "gimbal.yaml:5")
    );
    assert_eq!((chat.text("model"), chat.integer("port")), (Some("a.gguf"), Some(90)));
    assert_eq!(resolved("small", &[]).integer("job_queue_size"), Some(6));
    assert_eq!(resolved("chat", &[("job-queue-size", "8")]).integer("job_queue_size"), Some(8));
    let port = file("gimbal.yaml", Format::Yaml, "models:\n  chat:\n    port: 1\n");
    let port = ConfigFile { section: Some("chat".to_owned()), ..port };
    let expect = "gimbal.yaml: models.chat.port: it holds for the whole process (gimbal.yaml:3)";
    assert_eq!(error(vec![port], &[], &[]), expect);
    let flat = file("gimbal.yaml", Format::Yaml, "models: chat\n");
    assert!(error(vec![flat], &[], &[]).contains("models a map of such maps by name"));
}

#[test]
fn equal_values_have_equal_hashes() {
    let of = |flags: &[(&str, &str)]| {
        let given = Given { flags: pairs(flags), ..Given::default() };
        Settings::resolve(&Facts::default(), &given).expect("all legal").hash()
    };
    assert_eq!(of(&[]), of(&[("port", "8080")]));
    assert_ne!(of(&[]), of(&[("port", "8081")]));
}

#[test]
fn keys_are_unique_and_defaults_are_legal() {
    for (i, setting) in TABLE.iter().enumerate() {
        assert!(TABLE[..i].iter().all(|s| s.key != setting.key), "{}", setting.key);
        let (value, _) = (setting.default)(&Facts::default());
        assert_eq!(setting.parse(&value.to_string()), Ok(value), "{}", setting.key);
    }
}

#[test]
fn foreign_variables_never_stop_a_boot() {
    let environment = pairs(&[
        ("SAGEMAKER_BIND_TO_PORT", "none"),
        ("OPTION_MAX_ROLLING_BATCH_SIZE", "auto"),
        ("SM_VLLM_MAX_MODEL_LEN", "2048"),
        ("SM_VLLM_SWAP_SPACE", "4"),
        ("MAX_TOTAL_TOKENS", "4096"),
        ("GIMBAL_PORT", "tcp://10.0.0.1:8080"),
        ("GIMBAL_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("GIMBAL_SERVICE_HOST", "10.0.0.1"),
        ("GIMBAL_SERVICE_PORT_HTTP", "8080"),
        ("GIMBAL_TEST_ANYTHING", "1"),
        ("PORT", "3000"),
    ]);
    let given = Given { environment, ..Given::default() };
    let settings = Settings::resolve(&Facts::default(), &given).expect("nothing of ours is wrong");
    assert_eq!(settings.integer("port"), Some(8080));
    assert_eq!(settings.integer("max_rolling_batch_size"), Some(32));
    let context = settings.entry("max_model_len");
    assert_eq!(context.value, Value::Integer(2048), "vLLM's name before TGI's");
    assert_eq!(context.source.to_string(), "environment SM_VLLM_MAX_MODEL_LEN");
    let mut ignored: Vec<&str> = settings.ignored().iter().map(|i| i.name.as_str()).collect();
    ignored.sort_unstable();
    assert_eq!(
        ignored,
        [
            "GIMBAL_PORT",
            "GIMBAL_PORT_8080_TCP_ADDR",
            "GIMBAL_SERVICE_HOST",
            "GIMBAL_SERVICE_PORT_HTTP",
            "OPTION_MAX_ROLLING_BATCH_SIZE",
            "SAGEMAKER_BIND_TO_PORT",
            "SM_VLLM_SWAP_SPACE",
        ]
    );
    let why =
        &settings.ignored().iter().find(|i| i.name == "SAGEMAKER_BIND_TO_PORT").expect("told").why;
    assert_eq!(why, "\"none\" is no port: it must be a whole number from 0 to 65535");
}

#[test]
fn a_models_own_sampling_defaults_are_a_layer() {
    let text = "{\n  \"eos_token_id\": 2,\n  \"temperature\": 0.6,\n  \"top_p\": 0.9\n}";
    let files = vec![file("generation_config.json", Format::GenerationConfig, text)];
    let given = Given { files, ..Given::default() };
    let settings = Settings::resolve(&Facts::default(), &given).expect("all legal");
    assert_eq!(settings.number("default_temperature"), Some(0.6));
    assert_eq!(settings.entry("default_top_p").source.to_string(), "generation_config.json:4");
    assert_eq!(settings.ignored(), []);
}

#[test]
fn hints_of_a_model_never_stop_a_boot() {
    let whole = "all of it: ";
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("", &[("generation_config.json", "all of it: it is empty")]),
        (" \n", &[("generation_config.json", whole)]),
        ("{\"top_k\": 5,}", &[("generation_config.json", whole)]),
        ("[1]", &[("generation_config.json", whole)]),
        ("{\"top_k\": 5", &[("generation_config.json", whole)]),
        ("{\"top_k\": -1}", &[("top_k", "-1 is no default_top_k: it must be a whole number")]),
        ("{\"top_p\": 7.5}", &[("top_p", "7.5 is no default_top_p")]),
        ("{\"temperature\": \"NaN\"}", &[("temperature", "\"NaN\" is no default_temperature")]),
        ("{\"temperature\": [1]}", &[("temperature", "[1] is no")]),
        ("{\"temperature\": null, \"do_sample\": true, \"pad_token_id\": -1}", &[]),
    ];
    for (text, expect) in cases {
        let files = vec![file("generation_config.json", Format::GenerationConfig, text)];
        let given = Given { files, ..Given::default() };
        let settings = Settings::resolve(&Facts::default(), &given).expect("only hints");
        let told = settings.ignored();
        assert_eq!(told.len(), expect.len(), "{text:?}: {told:?}");
        for (told, (name, why)) in told.iter().zip(*expect) {
            assert_eq!(told.name, *name, "{text:?}");
            assert!(told.why.starts_with(why), "{text:?}: {}", told.why);
        }
    }
    let twice = "{\"top_k\": 7, \"top_p\": -1, \"top_k\": 9}";
    let files = vec![file("generation_config.json", Format::GenerationConfig, twice)];
    let given = Given { files, ..Given::default() };
    let settings = Settings::resolve(&Facts::default(), &given).expect("only hints");
    assert_eq!(settings.integer("default_top_k"), Some(9), "the last one, beside a bad one");
}

/// Serving stacks name repositories in `HF_MODEL_ID`; a path there is meant for us.
#[test]
fn a_foreign_model_is_taken_where_it_is_a_path() {
    let of = |id: &str| {
        let environment = pairs(&[("HF_MODEL_ID", id)]);
        let is_there: fn(&str) -> bool = |path| path.starts_with('/');
        let paths = Paths { is_there, ..Paths::default() };
        let given = Given { environment, paths, ..Given::default() };
        Settings::resolve(&Facts::default(), &given).expect("nothing of ours is wrong")
    };
    assert_eq!(of("/models/a").text("model"), Some("/models/a"));
    let settings = of("meta-llama/Llama-3.2-1B");
    assert_eq!(settings.text("model"), Some("/opt/ml/model"));
    assert_eq!(settings.ignored()[0].name, "HF_MODEL_ID");
}

/// A slip in a name of ours is an error; a variable that only begins like ours is told.
#[test]
fn a_variable_near_to_ours_is_a_slip_and_one_far_from_them_a_warning() {
    let near = [
        ("GIMBAL_PROT", "GIMBAL_PORT"),
        ("GIMBAL_PORTS", "GIMBAL_PORT"),
        ("GIMBAL_LOGLEVEL", "GIMBAL_LOG_LEVEL"),
        ("GIMBAL_MODLE", "GIMBAL_MODEL"),
        ("GIMBAL_MAX_MODEL_LENGTH", "GIMBAL_MAX_MODEL_LEN"),
    ];
    for (name, meant) in near {
        let expect = format!("{name} is set, but there is no such setting; did you mean {meant}?");
        assert_eq!(error(vec![], &[(name, "1")], &[]), expect);
        assert_eq!(error(vec![], &[(name, "")], &[]), "no error", "{name} is set to nothing");
    }
    let far = ["GIMBAL_URL", "GIMBAL_VERSION", "GIMBAL_HOME", "GIMBAL_TELEMETRY", "GIMBAL_"];
    for name in far {
        let given = Given { environment: pairs(&[(name, "x")]), ..Given::default() };
        let settings = Settings::resolve(&Facts::default(), &given).expect(name);
        let told = &settings.ignored()[0];
        assert_eq!((told.name.as_str(), told.is_loud), (name, true));
        assert!(told.why.contains("no such setting"), "{}", told.why);
    }
}

#[test]
fn a_library_of_a_file_that_is_only_examined_is_told_and_not_taken() {
    for (origin, expect) in [(Origin::Examined, None), (Origin::Operator, Some("/x.so"))] {
        let bytes = b"onnxruntime: /x.so\nport: 1\n".to_vec();
        let (path, format) = ("gimbal.yaml".to_owned(), Format::Yaml);
        let files = vec![ConfigFile { path, bytes, format, origin, section: None }];
        let given = Given { files, ..Given::default() };
        let settings = Settings::resolve(&Facts::default(), &given).expect("all legal");
        assert_eq!(settings.text("onnxruntime"), expect);
        assert_eq!(settings.integer("port"), Some(1));
        assert_eq!(settings.ignored().len(), usize::from(expect.is_none()));
    }
}

/// The command line gives each flag once; whoever else gives it twice means the last.
#[test]
fn the_last_of_two_equal_names_counts() {
    let flags = pairs(&[("port", "1"), ("port", "2")]);
    let environment = pairs(&[("GIMBAL_HOST", "a"), ("GIMBAL_HOST", "b")]);
    let given = Given { flags, environment, ..Given::default() };
    let settings = Settings::resolve(&Facts::default(), &given).expect("all legal");
    assert_eq!((settings.integer("port"), settings.text("host")), (Some(2), Some("b")));
}

/// What may be cut to what can be, and what must be as it was said.
#[test]
fn values_of_others_are_marked() {
    let files = vec![file("serving.properties", Format::Properties, "job_queue_size=7\n")];
    let environment = pairs(&[("OPTION_MAX_MODEL_LEN", "9"), ("GIMBAL_PORT", "1")]);
    let given = Given { files, environment, ..Given::default() };
    let settings = Settings::resolve(&Facts::default(), &given).expect("all legal");
    let marked: Vec<_> = settings.entries().filter(|(_, e)| e.is_foreign).map(|(k, _)| k).collect();
    assert_eq!(marked, ["job_queue_size", "max_model_len"]);
}

/// What is known of devices beats the machine's family and nothing else, and is gone elsewhere.
#[test]
fn a_device_lies_between_the_family_and_what_is_said() {
    let family = "max_rolling_batch_size: 4\nstep_time_max_ms: 3\n";
    let given = Given {
        firmware: vec![file("family.yaml", Format::Yaml, family)],
        files: vec![file("gimbal.yaml", Format::Yaml, "job_queue_size: 7\n")],
        ..Given::default()
    };
    let on_host = Settings::resolve(&Facts::default(), &given).expect("all legal");
    let device = "max_rolling_batch_size: 16\njob_queue_size: 9\n";
    let on_device = on_host.on(file("device.yaml", Format::Yaml, device)).expect("all legal");
    let values = |settings: &Settings| {
        ["max_rolling_batch_size", "step_time_max_ms", "job_queue_size"]
            .map(|key| settings.integer(key))
    };
    assert_eq!(values(&on_host), [Some(4), Some(3), Some(7)]);
    assert_eq!(values(&on_device), [Some(16), Some(3), Some(7)]);
    assert_eq!(on_device.entry("max_rolling_batch_size").source.to_string(), "device.yaml:1");
    let wrong = on_host.on(file("device.yaml", Format::Yaml, "max_rolling_bach_size: 1\n"));
    assert!(wrong.expect_err("a slip").to_string().contains("max_rolling_batch_size"));
}

/// The table's hash, its Debug form and every message tell at most that there is a secret.
#[test]
fn a_secret_is_taken_from_every_layer_and_shown_by_none() {
    let given = Given {
        files: vec![file("gimbal.yaml", Format::Yaml, "api_key: cheese1\n")],
        environment: pairs(&[("VLLM_API_KEY", "cheese2"), ("GIMBAL_API_KEY", "cheese3")]),
        flags: pairs(&[("api-key", " cheese4, cheese5 ")]),
        ..Given::default()
    };
    let settings = Settings::resolve(&Facts::default(), &given).expect("all legal");
    assert_eq!(settings.secret("api_key"), "cheese4, cheese5");
    let shown: Vec<String> = settings.entries().map(|(_, entry)| format!("{entry:?}")).collect();
    let shown = shown.join(" ") + &settings.entry("api_key").value.to_string();
    assert!(shown.contains("(set)") && !shown.contains("cheese"), "{shown}");
    let other = Given { flags: pairs(&[("api-key", "cheese6")]), ..Given::default() };
    let other = Settings::resolve(&Facts::default(), &other).expect("all legal");
    assert_eq!(other.hash(), settings.hash(), "a hash could be tried against likely keys");
    let none = Given { flags: pairs(&[("api-key", "none")]), ..given };
    let none = Settings::resolve(&Facts::default(), &none).expect("all legal");
    assert_eq!(none.secret("api_key"), "");
    let why = error(vec![], &[], &[("api-key", " , ")]);
    assert!(why.contains("a secret") && why.contains("must hold a key"), "{why}");
}
