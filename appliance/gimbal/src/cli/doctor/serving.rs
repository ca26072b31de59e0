//! Checks of what a server needs: settings, port, files, library, model.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use super::{Case, Finding, fail, ok, warn};
use crate::boot;
use crate::cli::listen::{self, Unheard};
use crate::config::Process;
use crate::folder::cache_problem;
use crate::readiness::FILES_OWN;

/// Where SageMaker puts the model.
const MODEL_FOLDER: &str = "/opt/ml/model";

/// Variables that tell programs of a proxy; small letters count too.
const PROXIES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
/// Ignored names that are shown.
const SHOWN_MAX: usize = 8;

pub(super) fn settings(case: &Case) -> Finding {
    match &case.refused {
        None => ok("every value can be used; gimbal plan shows them with their sources"),
        Some(why) => fail(why.clone(), "change or remove it; gimbal serve would end with 64"),
    }
}

pub(super) fn ignored(case: &Case) -> Finding {
    let ignored = case.settings.ignored();
    // What names a setting and was not taken comes first, with its reason.
    let loud = ignored.iter().filter(|i| i.is_loud).map(ToString::to_string);
    let other = ignored.iter().filter(|i| !i.is_loud).map(|i| i.name.clone());
    let mut shown: Vec<String> = loud.chain(other).take(SHOWN_MAX).collect();
    if ignored.len() > SHOWN_MAX {
        shown.push("…".to_owned());
    }
    match shown.is_empty() {
        true => ok("none"),
        false => warn(
            format!("without an effect here: {}", shown.join(", ")),
            "gimbal plan tells why; gimbal serve --help shows our own settings",
        ),
    }
}

pub(super) fn proxy(case: &Case) -> Finding {
    let set = PROXIES.iter().flat_map(|name| [(*name).to_owned(), name.to_lowercase()]);
    let set: Vec<String> = set.filter(|name| case.variable(name).is_some()).collect();
    match set.is_empty() {
        true => ok("none set"),
        false => ok(format!("{} not used: Gimbal opens no connections of its own", set.join(", "))),
    }
}

pub(super) fn privacy(_: &Case) -> Finding {
    match gimbal_onnx::process::is_private() {
        true => ok("nothing is sent: ONNX Runtime's telemetry is off (ORT_DISABLE_TELEMETRY=1)"),
        false => warn("ONNX Runtime may report to its vendor", "set ORT_DISABLE_TELEMETRY=1"),
    }
}

pub(super) fn port(case: &Case) -> Finding {
    let told = |unheard: &Unheard| fail(unheard.what(), unheard.remedy());
    let addresses = match listen::addresses(&case.settings) {
        Ok(addresses) => addresses,
        Err(unheard) => return told(&unheard),
    };
    match TcpListener::bind(&addresses[..]) {
        Ok(_) => ok(format!("{} is free", addresses[0])),
        Err(error) => told(&listen::refused(&case.settings, &addresses, &error)),
    }
}

pub(super) fn open_files(case: &Case) -> Finding {
    let number = |key| case.settings.integer(key).unwrap_or(0);
    // One connection for each request that may be inside.
    let need = number("job_queue_size") + number("max_rolling_batch_size") + FILES_OWN;
    // `serve` raises the soft limit to the hard one.
    match case.machine.system.open_files_hard {
        None => ok("the limit is unknown"),
        Some(u64::MAX) => ok("no limit"),
        Some(limit) if limit >= need => ok(format!("{limit}, {need} may be needed")),
        Some(limit) => warn(
            format!("{limit}, and a full queue needs {need}: more clients cannot connect"),
            format!("ulimit -Hn {}, or lower --job-queue-size", need.next_power_of_two()),
        ),
    }
}

pub(super) fn cache_folder(case: &Case) -> Finding {
    if let Some("off") = case.settings.text("packed_cache") {
        return ok("packed_cache is off: each start packs the weights");
    }
    let home = || case.variable("HOME").map(|home| home.join(".cache"));
    let base = || case.variable("XDG_CACHE_HOME").map(Path::to_owned).or_else(home);
    let set = case.settings.text("packed_cache").map(PathBuf::from);
    let Some(folder) = set.or_else(|| Some(base()?.join("gimbal"))) else {
        return ok("neither XDG_CACHE_HOME nor HOME is set; serving needs no cache");
    };
    match cache_problem(&folder) {
        None => ok(format!("{} can be written", folder.display())),
        Some(why) => warn(
            format!("{}: {why}", folder.display()),
            "each start packs the weights anew: set XDG_CACHE_HOME or --packed-cache",
        ),
    }
}

pub(super) fn library(case: &Case) -> Finding {
    let loaded = boot::with_tools(&Process::of(&case.settings), |tools| tools.load());
    match loaded.and_then(|loaded| Ok(loaded?)) {
        Ok(library) => ok(format!("{library} loads")),
        Err(error) => fail(
            error.to_string(),
            "pip install onnxruntime, then --onnxruntime …/onnxruntime/capi/libonnxruntime.so.1.…",
        ),
    }
}

pub(super) fn sagemaker(case: &Case) -> Finding {
    let Some(why) = &case.machine.identity.sagemaker else { return ok("not SageMaker") };
    match case.path(MODEL_FOLDER).is_dir() {
        true => ok(format!("yes ({why}); {MODEL_FOLDER} is there")),
        false => warn(
            format!("yes ({why}), but there is no {MODEL_FOLDER}"),
            "give CreateModel a ModelDataSource or ModelDataUrl",
        ),
    }
}

pub(super) fn model(case: &Case) -> Finding {
    let broken = case.models.iter().find_map(|(_, planned)| planned.as_ref().err());
    if let Some(why) = broken {
        return fail(
            why.clone(),
            "give a GGUF file that is there and fits, or change the setting the message names",
        );
    }
    let fits = case.models.iter().map(|(path, planned)| {
        let why = planned.as_ref().ok().and_then(|why| why.first());
        format!("{}: {}", path.display(), why.map_or("fits", String::as_str))
    });
    match case.models.is_empty() {
        true => ok("none given"),
        false => ok(fits.collect::<Vec<_>>().join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Check, Status};
    use super::*;

    fn check(environment: &[(&str, &str)], check: Check, status: Status, word: &str) {
        let (_folder, case) = Case::of("epyc-container-v2", environment);
        let found = check(&case);
        assert_eq!(found.status, status, "{found:?}");
        let all = format!("{} → {}", found.finding, found.remedy.unwrap_or_default());
        assert!(all.contains(word), "{word:?} in {all:?}");
    }

    #[test]
    fn a_port_in_use_fails_and_a_free_one_does_not() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let number = taken.local_addr().expect("it is bound").port().to_string();
        check(&[("GIMBAL_PORT", &number)], port, Status::Fail, "set --port");
        check(&[("GIMBAL_PORT", "0")], port, Status::Ok, "is free");
    }

    #[test]
    fn a_full_queue_must_have_files_to_open() {
        let open_files = |hard, queue| {
            let environment = [("GIMBAL_JOB_QUEUE_SIZE", queue)];
            let (_folder, mut case) = Case::of("epyc-container-v2", &environment);
            case.machine.system.open_files_hard = Some(hard);
            open_files(&case)
        };
        let found = open_files(1024, "1000");
        let need = "1024, and a full queue needs 1096: more clients cannot connect";
        assert_eq!((found.status, found.finding.as_str()), (Status::Warn, need));
        assert!(found.remedy.is_some_and(|r| r.contains("ulimit -Hn 2048")));
        assert_eq!(open_files(1024, "100").finding, "1024, 196 may be needed");
        assert_eq!(open_files(u64::MAX, "100").finding, "no limit");
        // The soft limit, 1024 on this machine, is raised.
        check(&[], super::open_files, Status::Ok, "524288, 1096 may be");
    }

    #[test]
    fn foreign_variables_and_proxies_are_named() {
        check(&[], ignored, Status::Ok, "none");
        check(&[("OPTION_MPI_MODE", "true")], ignored, Status::Warn, "OPTION_MPI_MODE");
        check(&[("GIMBAL_URL", "x")], ignored, Status::Warn, "there is no such setting");
        check(&[("https_proxy", "http://p:1")], proxy, Status::Ok, "https_proxy not used");
        check(&[], proxy, Status::Ok, "none set");
    }

    #[test]
    fn sagemaker_wants_its_model() {
        check(&[], sagemaker, Status::Ok, "not SageMaker");
        let hosted = [("SAGEMAKER_REGION", "eu-west-1")];
        check(&hosted, sagemaker, Status::Warn, "there is no /opt/ml/model");
        let (folder, case) = Case::of("epyc-container-v2", &hosted);
        folder.expand("== dir /opt/ml/model\n");
        assert_eq!(sagemaker(&case).status, Status::Ok);
    }

    #[test]
    fn a_cache_folder_is_tried() {
        let (folder, mut case) = Case::of("laptop", &[]);
        assert!(cache_folder(&case).finding.contains("serving needs no cache"));
        let home = folder.0.display().to_string();
        case.environment.insert("HOME".to_owned(), home.clone());
        let found = cache_folder(&case);
        assert_eq!(
            (found.status, found.finding),
            (Status::Ok, format!("{home}/.cache/gimbal can be written"))
        );
        folder.expand("== /file\n");
        case.environment.insert("XDG_CACHE_HOME".to_owned(), format!("{home}/file"));
        assert_eq!(cache_folder(&case).status, Status::Warn);
        let file = format!("{home}/file/below");
        let (_folder, case) = Case::of("laptop", &[("GIMBAL_PACKED_CACHE", &file)]);
        let found = cache_folder(&case).finding;
        assert_eq!(found, format!("{file}: {home}/file is a file, not a folder"));
    }

    #[test]
    fn refused_settings_and_models_fail_with_their_reason() {
        let (_folder, mut case) = Case::of("laptop", &[]);
        assert_eq!((settings(&case).status, model(&case).status), (Status::Ok, Status::Ok));
        case.refused = Some("port = x: no number".to_owned());
        assert_eq!(settings(&case).finding, "port = x: no number");
        case.models = vec![("m".into(), Err("m: no such file".to_owned()))];
        assert_eq!((model(&case).status, settings(&case).status), (Status::Fail, Status::Fail));
        case.models = vec![("m.gguf".into(), Ok(vec!["on onnx: 5 bytes".to_owned()]))];
        assert_eq!(model(&case).finding, "m.gguf: on onnx: 5 bytes");
    }
}
