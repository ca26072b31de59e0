//! Readings of devices in `/metrics` and `/status`: they appear, change, and are gone when they are not
//! told any more; a platform that hangs is nobody's trouble.
//!
//! When platforms are asked, and how often: `engine/tests/lane/readings.rs`.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gimbal_hal::{DeviceId, Platform, Reading};
use gimbal_sim::{Config, Cost, Reads, Script, Sensors, SimPlatform, Time};
use serde_json::{Value, json};

use crate::rig::{Server, lane, limits, policy};

/// What simulated devices tell, by names that no other test of this process has.
#[derive(Clone, Debug)]
pub(crate) struct Devices {
    pub(crate) prefix: &'static str,
    pub(crate) sensors: Arc<Mutex<Option<Sensors>>>,
}

impl Devices {
    pub(crate) fn new(prefix: &'static str, sensors: Sensors) -> Self {
        Self { prefix, sensors: Arc::new(Mutex::new(Some(sensors))) }
    }

    fn tell(&self, sensors: Option<Sensors>) {
        *self.sensors.lock().expect("no panic") = sensors;
    }

    fn read(&self) -> Vec<Reading> {
        let (script, time, reads) = (Script::default(), Time::Virtual, Reads::All);
        let config = Config { vocab: 256, cost: Cost::NONE, time, reads, script };
        let sensors = self.sensors.lock().expect("no panic").clone();
        let Some(sensors) = sensors else { return Vec::new() };
        let platform = SimPlatform { sensors, ..SimPlatform::new(config) };
        let named = |reading: Reading| {
            let device = DeviceId::new(self.prefix, reading.device.as_str());
            Reading { device, ..reading }
        };
        platform.readings().into_iter().map(named).collect()
    }

    /// The server asks them from now on.
    pub(crate) fn join(&self, server: &Server) {
        let devices = self.clone();
        server.app.readings().add("sim", Arc::new(move || devices.read()));
    }
}

/// Asks the devices once, after whoever asks them now, and waits for their answers.
pub(crate) async fn ask(server: &Server) {
    let models = server.app.models();
    let mut asked = server.app.readings().ask(models);
    while asked.is_empty() && !models.services().is_empty() {
        tokio::task::yield_now().await;
        asked = server.app.readings().ask(models);
    }
    for answer in asked {
        answer.await.expect("no panic");
    }
}

/// The series of one device, by metric.
async fn series(server: &Server, device: &str) -> Vec<(String, String)> {
    let metrics = server.get("/metrics").await.body;
    let label = format!("device=\"{device}\"}} ");
    let of = |line: &str| {
        let (series, value) = line.split_once(&label)?;
        let name = series.strip_suffix("{platform=\"sim\",")?.strip_prefix("gimbal_device_")?;
        Some((name.to_owned(), value.to_owned()))
    };
    let mut found: Vec<_> = metrics.lines().filter_map(of).collect();
    found.sort();
    found
}

fn pairs(expect: &[(&str, &str)]) -> Vec<(String, String)> {
    expect.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn devices(server: &Server) -> Value {
    server.get("/status").await.json()["devices"].clone()
}

#[tokio::test]
async fn readings_appear_change_and_vanish() {
    let server = Server::start("readings", policy(), lane(&limits(), &Script::default())).await;
    let (used, load, celsius) = (Some(7), Some(0.25), Some(41.5));
    let all = Sensors { memory_used_bytes: used, load, temperature: celsius, errors: Some(3) };
    let told = Devices::new("appear", all.clone());
    told.join(&server);
    ask(&server).await;
    let bytes = ("memory_bytes", "1073741824");
    let expect = [
        ("errors_total", "3"),
        ("load_ratio", "0.25"),
        bytes,
        ("memory_used_bytes", "7"),
        ("temperature_celsius", "41.5"),
    ];
    assert_eq!(series(&server, "appear:sim:0").await, pairs(&expect));
    let shown = json!([{
        "platform": "sim", "device": "appear:sim:0", "memory_bytes": 1_073_741_824,
        "memory_used_bytes": 7, "load_ratio": 0.25, "temperature_celsius": 41.5, "errors": 3,
    }]);
    assert_eq!(devices(&server).await, shown);

    // One that was reset counts from 0; what it does not tell any more is no 0.
    told.tell(Some(Sensors { load: Some(1.0), errors: Some(2), ..Sensors::default() }));
    ask(&server).await;
    let expect = [("errors_total", "5"), ("load_ratio", "1"), bytes];
    assert_eq!(series(&server, "appear:sim:0").await, pairs(&expect));
    let shown = devices(&server).await;
    assert_eq!((&shown[0]["temperature_celsius"], &shown[0]["errors"]), (&Value::Null, &json!(2)));

    told.tell(None);
    ask(&server).await;
    assert_eq!(series(&server, "appear:sim:0").await, pairs(&[("errors_total", "5")]));
    assert_eq!(devices(&server).await, json!([]));
    told.tell(Some(all));
    ask(&server).await;
    assert_eq!(series(&server, "appear:sim:0").await.len(), 5);
    // Without a lane nobody is asked, and nothing is told.
    server.app.models().unload("readings", Duration::from_secs(5)).await.expect("it serves");
    ask(&server).await;
    assert_eq!(devices(&server).await, json!([]));
    server.stop().await;
}

#[tokio::test]
async fn names_of_devices_are_escaped() {
    let server = Server::start("escaped", policy(), lane(&limits(), &Script::default())).await;
    let told = Devices::new("a\"b\\c\n", Sensors { load: Some(0.5), ..Sensors::default() });
    told.join(&server);
    ask(&server).await;
    assert_eq!(series(&server, "a\\\"b\\\\c\\n:sim:0").await.len(), 2);
    assert_eq!(devices(&server).await[0]["device"], "a\"b\\c\n:sim:0");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_platform_that_hangs_delays_neither_ping_nor_the_end() {
    let server = Server::start("hangs", policy(), lane(&limits(), &Script::default())).await;
    let (go_on, wait) = channel::<()>();
    let (tell, asked) = channel();
    let wait = Mutex::new(wait);
    let hang = move || {
        tell.send(()).expect("the test listens");
        wait.lock().expect("no panic").recv().expect_err("nothing is ever sent");
        Vec::new()
    };
    server.app.readings().add("sim", Arc::new(hang));
    let hung = server.app.readings().ask(server.app.models());
    asked.recv().expect("it is asked");
    let started = Instant::now();
    for _ in 0..20 {
        assert!(server.app.readings().ask(server.app.models()).is_empty(), "not asked again");
        for path in ["/ping", "/status", "/metrics"] {
            assert_eq!(server.get(path).await.status, 200, "{path}");
        }
    }
    let body = json!({"prompt": "abc", "max_tokens": 3});
    assert_eq!(server.post("/v1/completions", &body).await.status, 200);
    server.service().drain(Duration::from_secs(5)).await;
    server.stop().await;
    // It would wait for ever.
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    drop(go_on);
    for asked in hung {
        asked.await.expect("no panic");
    }
}
