//! Bodies of requests: a real server over a real socket, with a simulated device behind it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gimbal_batch::{Kv, Limits, Prefill, Sampling, Shape};
use gimbal_engine::{LaneSource, Policy, Service, ServiceConfig};
use gimbal_hal::Backend;
use gimbal_http::{AppState, HttpSettings, serve};
use gimbal_sim::{Config, Cost, Reads, Script, SimBackend, Time};
use gimbal_text::{ChatTemplate, Tokenizer, TokenizerData};

/// The first byte of an input chooses one.
const PATHS: [&str; 8] = [
    "/invocations",
    "/v1/completions",
    "/v1/chat/completions",
    "/tokenize",
    "/detokenize",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
];

pub(crate) const WORDS: &[&str] = &[
    "\"inputs\"",
    "\"input\"",
    "\"type\"",
    "\"text\"",
    "\"function_call\"",
    "\"tool_use\"",
    "\"tool_result\"",
    "\"item_reference\"",
    "\"parameters\"",
    "\"max_new_tokens\"",
    "\"do_sample\"",
    "\"prompt\"",
    "\"messages\"",
    "\"role\"",
    "\"content\"",
    "\"max_tokens\"",
    "\"stop\"",
    "\"logprobs\"",
    "\"top_logprobs\"",
    "\"n\"",
    "\"seed\"",
    "\"stream\"",
    "\"stream_options\"",
    "\"temperature\"",
    "\"top_p\"",
    "\"top_k\"",
    "\"presence_penalty\"",
    "\"details\"",
    "\"echo\"",
    "\"tokens\"",
    "true",
    "null",
    "1e400",
    "-0",
    "18446744073709551616",
    "\\ud800",
    "[[",
    "]]",
];

pub(crate) fn body(bytes: &[u8]) {
    static SERVER: OnceLock<SocketAddr> = OnceLock::new();
    let address = SERVER.get_or_init(start);
    let Some((which, body)) = bytes.split_first() else { return };
    let path = PATHS[usize::from(*which) % PATHS.len()];
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: fuzz\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut answer = Vec::new();
    let asked = TcpStream::connect(address).and_then(|mut socket| {
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        socket.write_all(&[head.as_bytes(), body].concat())?;
        socket.read_to_end(&mut answer)
    });
    asked.expect("an answer to every body");
    let status = answer.get(9..12).and_then(|s| std::str::from_utf8(s).ok()).unwrap_or_default();
    // 500 would be a fault of ours; everything else is an answer.
    assert!(matches!(status, "200" | "400" | "404" | "413" | "422" | "503" | "504"), "{status}");
}

fn start() -> SocketAddr {
    let (sender, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let state = AppState::new(HttpSettings::default(), None);
            state.add_model(service()).expect("the only one");
            sender.send(listener.local_addr().expect("an address")).expect("the target waits");
            serve(listener, state, std::future::pending()).await.expect("served for ever");
        });
    });
    address.recv().expect("a server")
}

fn service() -> Arc<Service> {
    let limits = Limits {
        kv: Kv { blocks: 64, block_tokens: 4 },
        shape: Shape::Varlen { rows_max: 64 },
        prefill: Prefill::Chunked,
        sequences_max: 8,
        context_tokens_max: 64,
        vocab: 256,
        adapters_max: 0,
        inject_width: 0,
        depth: 1,
        sampling: Sampling::HOST,
        batch_invariant: true,
    };
    let open = move || -> Box<dyn Backend> {
        let (cost, time, reads, script) =
            (Cost::NONE, Time::Virtual, Reads::Newest, Script::default());
        Box::new(SimBackend::new(limits.clone(), Config { vocab: 256, cost, time, reads, script }))
    };
    let source = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
    let template = ChatTemplate::new(source, String::new(), String::new()).expect("a template");
    let policy = Policy {
        max_rolling_batch_size: 8,
        job_queue_size: 60,
        step_tokens_max: 64,
        step_time_max: None,
        prefix_cache: true,
        drafts_max: 0,
        turn_tokens: 128,
        prefix_secret: [1, 2],
    };
    let tokenizer = Arc::new(Tokenizer::new(&TokenizerData::byte_level()).expect("own data"));
    let lanes = vec![LaneSource { backend: open(), reopen: Box::new(move || Ok(open())) }];
    let config = ServiceConfig::new("fuzz", tokenizer, policy, lanes);
    Service::start(ServiceConfig { template: Some(Arc::new(template)), ..config })
        .expect("a thread")
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        r#"0{"inputs":"Hi","parameters":{"max_new_tokens":5,"do_sample":true,"seed":7,"details":true}}"#,
        r#"1{"prompt":["Hi","Ho"],"max_tokens":4,"n":2,"logprobs":2,"stop":["x"],"echo":false}"#,
        r#"2{"messages":[{"role":"user","content":"Hi"}],"max_tokens":4,"stream":true,"top_p":0.9}"#,
        r#"3{"prompt":"Hi there","add_special_tokens":true}"#,
        r#"4{"tokens":[72,105]}"#,
        r#"0{"messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]}],"logprobs":true}"#,
    ]
    .map(|text| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[0] -= b'0';
        bytes
    })
    .to_vec()
}
