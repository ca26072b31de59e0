//! Readings of devices: asked while a lane is open, replaced whole, forgotten when they are late.
//!
//! What becomes of them in `/metrics`: `http/tests/edge/readings.rs`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gimbal_engine::*;
use gimbal_hal::{Platform, Reading};
use gimbal_sim::{Config, Cost, Reads, Script, Sensors, SimPlatform, Time};

use crate::rig::*;

fn platform(sensors: Sensors) -> SimPlatform {
    let (script, time, reads) = (Script::default(), Time::Virtual, Reads::All);
    let config = Config { vocab: 256, cost: Cost::NONE, time, reads, script };
    SimPlatform { devices: vec![100, 200], sensors, ..SimPlatform::new(config) }
}

/// Models with one lane on a platform of that name.
fn models(platform: &str) -> Arc<Models> {
    let models = Arc::new(Models::default());
    let tokenizer = gimbal_text::Tokenizer::new(&gimbal_text::TokenizerData::byte_level());
    let tokenizer = Arc::new(tokenizer.expect("own data"));
    let lanes = vec![sim_lane(1, &Script::default())];
    let config = ServiceConfig::new("a", tokenizer, policy(), lanes);
    let place = Place { platform: platform.to_owned(), ..Place::default() };
    let service = Service::start(ServiceConfig { place, ..config }).expect("a thread");
    models.begin("a").expect("the first").serve(service);
    models
}

async fn round(readings: &Arc<Readings>, models: &Models) -> Vec<Reading> {
    for asked in readings.ask(models) {
        asked.await.expect("no panic");
    }
    readings.list().into_iter().map(|(_, reading)| reading).collect()
}

#[tokio::test]
async fn readings_are_those_of_platforms_with_an_open_lane() {
    let (readings, models) = (Arc::new(Readings::default()), models("sim"));
    let sensors = Arc::new(Mutex::new(Sensors { load: Some(0.5), ..Sensors::default() }));
    let now = Arc::clone(&sensors);
    readings
        .add("sim", Arc::new(move || platform(now.lock().expect("no panic").clone()).readings()));
    readings.add("other", Arc::new(|| panic!("nobody runs there")));
    assert_eq!(readings.list(), []);
    let first = round(&readings, &models).await;
    assert_eq!(first, platform(Sensors { load: Some(0.5), ..Sensors::default() }).readings());
    // What cannot be is not told; what is not told any more is gone.
    *sensors.lock().expect("no panic") =
        Sensors { load: Some(7.0), temperature: Some(f64::NAN), ..Sensors::default() };
    let second = round(&readings, &models).await;
    let told: Vec<_> = second.iter().map(|r| (r.load, r.temperature)).collect();
    assert_eq!(told, [(Some(1.0), None); 2]);
    models.unload("a", Duration::from_secs(5)).await.expect("it serves");
    assert_eq!(round(&readings, &models).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_hangs_is_asked_once_and_forgotten_and_comes_back() {
    let (readings, models) = (Arc::new(Readings::default()), models("sim"));
    let asked = Arc::new(AtomicU32::new(0));
    let (go_on, wait) = channel::<()>();
    let (wait, count) = (Mutex::new(wait), Arc::clone(&asked));
    let read = move || {
        // The first answer comes at once.
        if count.fetch_add(1, Ordering::SeqCst) > 0 {
            wait.lock().expect("no panic").recv().expect_err("nothing is ever sent");
        }
        platform(Sensors::default()).readings()
    };
    readings.add("sim", Arc::new(read));
    assert_eq!(round(&readings, &models).await.len(), 2);
    let mut hung = readings.ask(&models);
    let hung = hung.pop().expect("it is asked again");
    for (seconds, expect) in [(5, 2), (5, 2), (5, 0), (5, 0)] {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        assert!(readings.ask(&models).is_empty(), "it has not answered");
        assert_eq!(readings.list().len(), expect);
    }
    drop(go_on);
    hung.await.expect("no panic");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(readings.list().len(), 2);
    assert_eq!(round(&readings, &models).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_watch_asks_every_five_seconds() {
    let (readings, models) = (Arc::new(Readings::default()), models("sim"));
    let (tell, told) = channel();
    let read = move || {
        tell.send(()).expect("the test listens");
        platform(Sensors::default()).readings()
    };
    readings.add("sim", Arc::new(read));
    let started = tokio::time::Instant::now();
    // Time stands still while somebody is asked.
    let watch = tokio::time::timeout(Duration::from_secs(23), readings.watch(&models));
    assert!(watch.await.is_err(), "it never ends by itself");
    assert_eq!(started.elapsed().as_secs(), 23);
    assert_eq!(told.try_iter().count(), 5);
}
