//! Clients that ask until they are told to stop: chats of many lengths that begin alike.
//!
//! Measures nothing; that is `gimbal bench`. Every client asks the same in every run.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::send;

/// What all chats begin with.
const SYSTEM: &str = "You are a friendly assistant. You answer in a few clear sentences, without \
    lists, and you say so when you do not know something.";
const WORDS: [&str; 12] = [
    "river", "lantern", "winter", "copper", "garden", "signal", "harbour", "paper", "thunder",
    "meadow", "engine", "letter",
];
/// One request in so many asks for more tokens than any context has.
const GREEDY: u32 = 40;
/// One request in so many asks for a model that is not there.
const LOST: u32 = 60;
/// Longest pause between two requests of a client.
const PAUSE_MS: u32 = 1500;

/// Ends the clients with its scope.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs the clients beside `work`, and ends them after it.
///
/// # Errors
/// What `work` says.
pub fn beside<T>(
    address: SocketAddr,
    clients: u32,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in 0..clients {
            let ends = &ends;
            scope.spawn(move || ask(address, client, ends));
        }
        // Also where `work` panics: the scope waits for the clients before anybody hears of it.
        let _ends = Ends(&ends);
        work()
    })
}

fn ask(address: SocketAddr, client: u32, ends: &AtomicBool) {
    let mut chance = Chance(client + 1);
    while !ends.load(Ordering::Relaxed) {
        let body = body(&mut chance).to_string();
        // A server that is gone or refuses is no fault of this client.
        let Ok(mut response) = send(address, "POST", "/v1/chat/completions", &body) else { return };
        while !ends.load(Ordering::Relaxed) && matches!(response.chunk(), Ok(Some(_))) {}
        std::thread::sleep(Duration::from_millis(u64::from(chance.below(PAUSE_MS))));
    }
}

fn body(chance: &mut Chance) -> Value {
    let count = 4 + chance.below(60);
    let words: Vec<_> = (0..count).map(|_| WORDS[chance.below(12) as usize]).collect();
    let question = format!("Tell a story with these words: {}.", words.join(", "));
    let is_greedy = chance.below(GREEDY) == 0;
    let is_lost = chance.below(LOST) == 0;
    json!({
        "model": if is_lost { Some("another") } else { None },
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": question},
        ],
        "max_tokens": if is_greedy { 1_000_000 } else { 16 + chance.below(64) },
        "stream": true,
    })
}

/// A linear congruential generator. **Source**: Numerical Recipes, 2nd ed., §7.1.
struct Chance(u32);

impl Chance {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) % end
    }
}
