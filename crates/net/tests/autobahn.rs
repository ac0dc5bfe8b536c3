//! The Autobahn suite against whole messages: the referee that WebSocket implementations are judged by.
//!
//! The server is this test, which sends back whatever comes. The suite is `kosoku`, which drives the cases of Autobahn itself,
//! from Python; `cargo xtask setup` installs it.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use dovetail_net::{Messages, accept_key};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::LocalSet;

/// The suite sends 16 MiB in one message.
const MESSAGE_BYTES: usize = 16 << 20;
/// What a connection reads into.
const SCRATCH: usize = 64 << 10;
/// Cases that say how a server closes where the standard lets it choose: with data that was not sent back yet, and after
/// codes that nobody has defined.
const OPEN: [&str; 3] = ["7.1.6", "7.13.1", "7.13.2"];
/// How long a client may take to close.
const LINGER: Duration = Duration::from_secs(5);

/// Answers the handshake, sends back what comes, and closes in order.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).await?;
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8(head).unwrap();
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    let key = fields.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key")).unwrap().1;
    let accept = accept_key(key).unwrap();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    let mut messages = Messages::new(stream, Bytes::new(), MESSAGE_BYTES);
    let mut scratch = vec![0; SCRATCH];
    while messages.end().is_none() {
        poll_fn(|cx| {
            // Nothing more is read while the client does not take what it sent.
            ready!(messages.poll_flush(cx))?;
            let mut input = ready!(messages.poll_read(cx, &mut scratch));
            while let Some(message) = messages.next_message(&mut input) {
                messages.queue(message.kind(), &[message.as_bytes()]);
            }
            Poll::Ready(io::Result::Ok(()))
        })
        .await?;
    }
    let closing = tokio::time::timeout(LINGER, poll_fn(|cx| messages.poll_close(cx)));
    closing.await.unwrap_or(Ok(()))
}

/// The Python that `cargo xtask setup` made.
fn python() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools");
    let tools = std::env::var_os("DOVETAIL_TOOLS").map_or_else(default, PathBuf::from);
    let python = tools.join("venv/bin/python");
    assert!(python.exists(), "{} is not there: run `cargo xtask setup`", python.display());
    python
}

/// How a case ended: its number, the verdict on the exchange, and that on the close.
type Verdict = [String; 3];

async fn run(address: SocketAddr, cases: &[&str]) -> Vec<Verdict> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/autobahn.py");
    let suite = Command::new(python())
        .args([&script, Path::new(&format!("ws://{address}"))])
        .args(cases)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(suite.status.success(), "{}", String::from_utf8_lossy(&suite.stderr));
    let said = String::from_utf8(suite.stdout).unwrap();
    let words = said.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    words.map(|words| words.try_into().unwrap()).collect()
}

/// The verdicts on `cases`, which are numbers with `*` for any.
fn judged(cases: &[&str]) -> Vec<Verdict> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = async {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                // What ends a connection is for the suite to judge.
                tokio::task::spawn_local(echo(stream));
            }
        };
        tokio::select! {
            judged = run(address, cases) => judged,
            () = serving => unreachable!("it serves for ever"),
        }
    })
}

#[test]
fn autobahn_finds_no_fault() {
    let verdicts = judged(&["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]);
    for [case, exchange, close] in &verdicts {
        // What the standard leaves open is not judged, and nothing is merely tolerable.
        let expected = if OPEN.contains(&&**case) { "INFORMATIONAL" } else { "OK" };
        assert_eq!((&**exchange, &**close), (expected, expected), "case {case}");
    }
    assert_eq!(verdicts.len(), 301);
}

#[test]
fn compression_is_not_agreed_to() {
    for [case, exchange, _] in judged(&["12.1.1", "12.5.1", "13.1.1", "13.7.1"]) {
        assert_eq!(exchange, "UNIMPLEMENTED", "case {case}");
    }
}
