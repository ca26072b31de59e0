//! A server that does what a test says, for real clients over real sockets.
//!
//! It answers the three routes, counts words as tokens plus one mark, and writes its streams in
//! pieces of seven bytes, so that no event comes in one of them. Next: `main.rs`.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use gimbal_bench::Target;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Tokens of a prompt beside its words.
const MARKS: usize = 1;

/// What becomes of a request for tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Everything that was asked for, and the count.
    Whole,
    /// The same on a connection that ends after it.
    Closing,
    /// Everything, and no count.
    Uncounted,
    /// One token less than asked for.
    Short,
    /// A refusal.
    Status(u16),
    /// The connection ends in the middle.
    Cut,
    /// The stream ends properly, in the middle of the answer.
    Early,
    /// An error in the stream.
    Broken,
    /// No stream.
    Plain,
    /// Nothing more after the first token.
    Stall,
}

/// What all servers of a test saw, in order: the server's name and the body.
pub(crate) type Log = Arc<Mutex<Vec<(&'static str, Value)>>>;

/// A running server; ends when dropped.
#[derive(Debug)]
pub(crate) struct Fake {
    address: SocketAddr,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    name: &'static str,
    /// The first request is the bench's trial; then these, in turn.
    acts: Vec<Act>,
    seen: Mutex<usize>,
    log: Log,
}

impl Fake {
    /// A server that acts in turn, beginning again after the last.
    pub(crate) async fn start(name: &'static str, acts: &[Act], log: &Log) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (acts, log, seen) = (acts.to_vec(), Arc::clone(log), Mutex::new(0));
        let state = Arc::new(State { name, acts, seen, log });
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let state = Arc::clone(&state);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                let http = hyper::server::conn::http1::Builder::new();
                // How a client leaves is its own affair.
                tokio::spawn(async move {
                    drop(http.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Self { address, task }
    }

    /// Its URL.
    pub(crate) fn target(&self) -> Target {
        Target::parse(&format!("http://{}", self.address)).expect("a URL")
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Answer = Response<Pieces>;

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let path = request.uri().path().to_owned();
    let body = whole(request.into_body()).await;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let model = json!({"data": [{"id": "fake-1", "owned_by": "nobody"}]});
    Ok(match path.as_str() {
        "/v1/models" => told(200, &model),
        "/version" => told(200, &json!({"version": "4.5"})),
        "/ping" => told(200, &json!({})),
        "/tokenize" => {
            let words = body["prompt"].as_str().map_or(0, |p| p.split(' ').count());
            told(200, &json!({"tokens": vec![0; words + MARKS]}))
        }
        "/v1/completions" | "/v1/chat/completions" | "/invocations" => {
            generate(&state, &path, body)
        }
        _ => told(404, &json!({"error": {"message": format!("no route {path}")}})),
    })
}

fn generate(state: &State, path: &str, body: Value) -> Answer {
    let number = {
        let mut seen = state.seen.lock().expect("no panic holds it");
        *seen += 1;
        *seen - 1
    };
    let act = match number.checked_sub(1) {
        None => Act::Whole,
        Some(number) => state.acts[number % state.acts.len()],
    };
    let wanted = body["max_tokens"].as_u64().or(body["parameters"]["max_new_tokens"].as_u64());
    let wanted = usize::try_from(wanted.unwrap_or(0)).expect("a small count");
    let words = body.to_string().split(' ').count();
    let text = body["prompt"].as_str().map_or(words, |p| p.split(' ').count());
    if number > 0 {
        state.log.lock().expect("no panic holds it").push((state.name, body));
    }
    match act {
        Act::Status(status) => return told(status, &json!({"error": {"message": "not now"}})),
        Act::Plain => return told(200, &json!({"choices": []})),
        _ => {}
    }
    let tokens = wanted - usize::from(matches!(act, Act::Short));
    let (stream, end) = match path {
        "/invocations" => (lines(tokens, act), "application/jsonlines"),
        _ => (events(path, tokens, text + MARKS, act), "text/event-stream; charset=utf-8"),
    };
    let after = match act {
        Act::Cut => After::Cut,
        Act::Stall => After::Stall,
        _ => After::End,
    };
    let mut response = Response::new(Pieces { rest: Bytes::from(stream), after });
    let headers = response.headers_mut();
    headers.insert("content-type", end.parse().expect("a header"));
    if matches!(act, Act::Closing) {
        headers.insert("connection", "close".parse().expect("a header"));
    }
    response
}

/// Tokens that come before the act shows.
fn before(tokens: usize, act: Act) -> usize {
    if matches!(act, Act::Cut | Act::Early | Act::Broken | Act::Stall) { 1 } else { tokens }
}

fn events(path: &str, tokens: usize, prompt: usize, act: Act) -> String {
    let mut out = String::from(": hello\n\n");
    let mut event = |value: Value| out.push_str(&format!("data: {value}\r\n\r\n"));
    let is_chat = path.contains("chat");
    if is_chat {
        event(json!({"choices": [{"delta": {"role": "assistant", "content": ""}}]}));
    }
    for _ in 0..before(tokens, act) {
        event(match is_chat {
            true => json!({"choices": [{"delta": {"content": " é"}, "finish_reason": null}]}),
            false => json!({"choices": [{"text": " é", "finish_reason": null}]}),
        });
    }
    match act {
        Act::Cut | Act::Early | Act::Stall => return out,
        Act::Broken => {
            event(json!({"error": {"message": "the device is lost", "code": 500}}));
            return out;
        }
        _ => {}
    }
    event(json!({"choices": [{"text": "", "delta": {}, "finish_reason": "length"}]}));
    if !matches!(act, Act::Uncounted) {
        let details = json!({"cached_tokens": 2});
        event(json!({"choices": [], "usage": {
            "prompt_tokens": prompt, "completion_tokens": tokens, "prompt_tokens_details": details,
        }}));
    }
    out.push_str("data: [DONE]\n\n");
    out
}

fn lines(tokens: usize, act: Act) -> String {
    let mut out = String::new();
    for n in 1..=before(tokens, act) {
        let mut line = json!({"token": {"id": 7, "text": " é", "log_prob": -1.0}});
        if n == tokens && !matches!(act, Act::Early) {
            line["generated_text"] = "é".into();
            line["details"] = json!({"finish_reason": "length", "generated_tokens": tokens});
        }
        out.push_str(&format!("{line}\n"));
    }
    out
}

fn told(status: u16, value: &Value) -> Answer {
    let pieces = Pieces { rest: Bytes::from(value.to_string()), after: After::End };
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(pieces).expect("a valid response")
}

async fn whole(mut body: Incoming) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) =
        std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
    {
        bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    bytes
}

/// What comes after the last piece.
#[derive(Clone, Copy, Debug)]
enum After {
    End,
    Cut,
    Gone,
    Stall,
}

/// A body in pieces of seven bytes.
#[derive(Debug)]
struct Pieces {
    rest: Bytes,
    after: After,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let len = self.rest.len().min(7);
        if len > 0 {
            return Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(len)))));
        }
        match self.after {
            After::End => Poll::Ready(None),
            // What there is goes out first.
            After::Cut => {
                self.after = After::Gone;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            After::Gone => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
            After::Stall => Poll::Pending,
        }
    }
}
