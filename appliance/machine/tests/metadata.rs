//! The metadata service, played by a thread on this machine.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Instant;

use gimbal_machine::{Around, Imds, Machine, Metadata};

/// Answers each request with what `answer` says to its head; an empty answer is silence.
fn serve(answer: fn(&str) -> String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                head.push(byte[0]);
            }
            let text = answer(&String::from_utf8_lossy(&head));
            if text.is_empty() {
                silent.push(stream);
            } else {
                // A client that left is none of the server's business.
                drop(stream.write_all(text.as_bytes()));
            }
        }
    });
    address
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn ask(address: SocketAddr) -> Machine {
    let around = Around { environment: Vec::new(), imds: Imds::At(address) };
    Machine::read(Path::new("/nowhere"), &around)
}

#[test]
fn a_token_opens_the_type_and_the_region() {
    let machine = ask(serve(|head| {
        let line = head.lines().next().unwrap_or_default();
        let has_token = head.contains("X-aws-ec2-metadata-token: t0ken==\r\n");
        match line {
            "PUT /latest/api/token HTTP/1.1" if head.contains("token-ttl-seconds: ") => {
                ok("t0ken==")
            }
            "GET /latest/meta-data/instance-type HTTP/1.1" if has_token => ok("g6.xlarge"),
            "GET /latest/meta-data/placement/region HTTP/1.1" if has_token => ok("eu-central-1"),
            _ => "HTTP/1.1 401 Unauthorized\r\n\r\n".to_owned(),
        }
    }));
    let said = Metadata { instance: "g6.xlarge".to_owned(), region: "eu-central-1".to_owned() };
    assert_eq!(machine.metadata, Some(Ok(said)));
    assert_eq!(machine.identity.instance.as_deref(), Some("g6.xlarge"));
    assert_eq!(machine.identity.region.as_deref(), Some("eu-central-1"));
}

#[test]
fn no_answer_is_a_reason_and_is_not_waited_for() {
    let started = Instant::now();
    let check = |address: SocketAddr, why: &str| {
        let machine = ask(address);
        let reason = machine.metadata.expect("it was asked").expect_err("there is no answer");
        assert!(reason.contains(why), "{reason}");
        assert_eq!(machine.identity.instance, None);
    };
    check(serve(|_| String::new()), "no answer in 150ms");
    check(serve(|_| "HTTP/1.1 403 Forbidden\r\n\r\n".to_owned()), "answered 403");
    check(serve(|_| ok("a b\r\nX-Evil: 1")), "something else than a word");
    check(serve(|_| ok(&"x".repeat(100_000))), "something else than a word");
    check(serve(|_| "\u{0}garbage".to_owned()), "answered nothing");
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    check(closed, "refused");
    assert!(started.elapsed().as_secs() < 5, "the budget is for all requests together");
}

#[test]
fn a_machine_that_is_not_on_ec2_does_not_ask() {
    let around = Around { environment: Vec::new(), imds: Imds::OnEc2 };
    assert_eq!(Machine::read(Path::new("/nowhere"), &around).metadata, None);
}
