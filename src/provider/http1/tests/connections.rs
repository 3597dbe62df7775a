//! What happens on connections: a provider on a thread of its own does as its script says.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc,
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, header, uri::PathAndQuery};
use http_body_util::BodyExt as _;
use pointsman_layers::body::ReplayBody;
use socket2::SockRef;

use crate::provider::{
    Client,
    http1::{Error, Exchange, Http1},
};

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhonest";

/// Where to connect, and the script that runs for it.
struct Scripted {
    http1: Http1,
    script: JoinHandle<()>,
}

fn scripted(script: impl FnOnce(TcpListener) + Send + 'static) -> Scripted {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound")).parse().expect("a URL");
    let http1 = Http1::new(Client::new(Duration::from_secs(5)).connector, &url).expect("it has no TLS");
    Scripted { http1, script: std::thread::spawn(move || script(listener)) }
}

impl Scripted {
    fn ask(&self, body: ReplayBody) -> Exchange {
        let (name, value) = (header::AUTHORIZATION, HeaderValue::from_static("Bearer secret"));
        self.http1.request(Method::POST, &PathAndQuery::from_static("/"), std::iter::once((&name, &value)), body)
    }

    async fn whole(&self) -> Result<Bytes, Error> {
        Ok(self.ask("ping".into()).await?.into_body().collect().await?.to_bytes())
    }
}

fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().expect("a connection").0
}

/// Reads one request, whose body ends with `ping`.
fn read_request(stream: &mut TcpStream) -> Vec<u8> {
    let (mut request, mut space) = (Vec::new(), [0; 1024]);
    while !request.ends_with(b"ping") {
        let count = stream.read(&mut space).expect("the request");
        assert!(count > 0, "the request is cut off");
        request.extend_from_slice(&space[..count]);
    }
    request
}

fn answer(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("somebody reads");
}

/// After the first answer something happens on its connection, and no one can tell the runtime, as it is blocked.
async fn is_not_used_again(unseen: fn(TcpStream) -> Option<TcpStream>) {
    let (go, gone) = (mpsc::channel(), mpsc::channel());
    let scripted = scripted(move |listener| {
        let mut first = accept(&listener);
        read_request(&mut first);
        answer(&mut first, ANSWER);
        go.1.recv().expect("the test has the answer");
        let first = unseen(first);
        gone.0.send(()).expect("the test waits");
        let mut second = accept(&listener);
        read_request(&mut second);
        answer(&mut second, ANSWER);
        drop(first);
    });
    assert_eq!(scripted.whole().await.expect("an answer"), "honest");
    go.0.send(()).expect("the provider waits");
    gone.1.recv().expect("it happened");
    assert_eq!(scripted.whole().await.expect("an answer on another connection"), "honest");
    scripted.script.join().expect("two requests on two connections");
}

#[tokio::test]
async fn a_connection_that_ended_while_nobody_looked_is_not_used() {
    is_not_used_again(|first| {
        first.shutdown(Shutdown::Both).expect("open");
        None
    })
    .await;
}

#[tokio::test]
async fn what_came_behind_an_answer_while_nobody_looked_is_no_answer() {
    is_not_used_again(|mut first| {
        answer(&mut first, "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nsmuggle");
        Some(first)
    })
    .await;
}

#[tokio::test]
async fn what_is_left_of_a_request_is_not_shown() {
    let scripted = scripted(|listener| {
        let mut first = accept(&listener);
        answer(&mut first, "HTTP/1.1 413 Content Too Large\r\ncontent-length: 9\r\n\r\nprivate");
        let _ = first.read_to_end(&mut Vec::new());
    });
    let response = scripted.ask("x".repeat(32 << 20).into()).await.expect("an answer before the request is there");
    assert_eq!(response.status(), 413);
    let mut body = response.into_body();
    let shown = format!("{body:?} {:?}", scripted.http1);
    assert!(!shown.contains("secret") && !shown.contains("private"), "{}", &shown[..shown.len().min(2000)]);
    assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
    drop(body);
    scripted.script.join().expect("the connection ends with the body");
}

#[tokio::test]
async fn an_early_refusal_outlives_the_reset_behind_it() {
    let scripted = scripted(|listener| {
        let mut stream = accept(&listener);
        stream.read_exact(&mut [0; 1024]).expect("the request");
        answer(&mut stream, "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 5\r\n\r\nlarge");
        // Closed with the rest of the request unread, the connection is reset.
        drop(stream);
        let mut second = accept(&listener);
        read_request(&mut second);
        answer(&mut second, ANSWER);
    });
    let response = scripted.ask("x".repeat(32 << 20).into()).await.expect("the refusal");
    assert_eq!(response.status(), 413);
    assert_eq!(response.into_body().collect().await.expect("all of it").to_bytes(), "large");
    assert_eq!(scripted.whole().await.expect("an answer on another connection"), "honest");
    scripted.script.join().expect("two requests on two connections");
}

#[tokio::test]
async fn a_request_that_nobody_reads_ends_with_its_future() {
    let (is_done, done) = mpsc::channel();
    let scripted = scripted(move |listener| {
        let mut stream = accept(&listener);
        done.recv().expect("the test gives up");
        let (mut heard, mut space) = (0, vec![0; 64 << 10]);
        while let Ok(count @ 1..) = stream.read(&mut space) {
            heard += count;
        }
        assert!(heard < 32 << 20, "what was not sent is not sent later");
    });
    let asked = tokio::time::timeout(Duration::from_millis(50), scripted.ask("x".repeat(32 << 20).into())).await;
    assert!(asked.is_err(), "there is no answer");
    is_done.send(()).expect("the provider waits");
    scripted.script.join().expect("the connection is closed");
}

#[tokio::test]
async fn an_answer_is_taken_while_the_request_is_still_written() {
    const LARGE: usize = 32 << 20;
    let scripted = scripted(|listener| {
        let mut stream = accept(&listener);
        answer(&mut stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        // Says back what it hears, so neither end gets on unless the other one reads and writes at once.
        let (mut heard, mut space) = (0, vec![0; 64 << 10]);
        while heard < LARGE {
            let count = stream.read(&mut space).expect("the request");
            heard += count;
            answer(&mut stream, &format!("{count:x}\r\n{}\r\n", "y".repeat(count)));
        }
        answer(&mut stream, "0\r\n\r\n");
    });
    let response = scripted.ask("x".repeat(LARGE).into()).await.expect("an answer");
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    assert!(body.len() >= LARGE);
    scripted.script.join().expect("all of the request came");
}

#[tokio::test]
async fn interim_answers_have_an_end() {
    let scripted = scripted(|listener| {
        let mut stream = accept(&listener);
        read_request(&mut stream);
        let many = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(1000);
        while stream.write_all(many.as_bytes()).is_ok() {}
    });
    let asked = tokio::time::timeout(Duration::from_secs(20), scripted.ask("ping".into())).await;
    assert!(matches!(asked.expect("it gives up by itself"), Err(Error::Broken(_))));
    scripted.script.join().expect("the connection is closed");
}

#[tokio::test]
async fn a_request_of_which_no_byte_left_was_not_sent() {
    let (go, gone) = (mpsc::channel(), mpsc::channel());
    let scripted = scripted(move |listener| {
        let mut stream = accept(&listener);
        read_request(&mut stream);
        answer(&mut stream, ANSWER);
        go.1.recv().expect("the test has the answer");
        // So it is reset when it is closed.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("open");
        drop(stream);
        gone.0.send(()).expect("the test waits");
    });
    assert_eq!(scripted.whole().await.expect("an answer"), "honest");
    let asked = scripted.ask("ping".into());
    go.0.send(()).expect("the provider waits");
    gone.1.recv().expect("it is reset");
    assert!(matches!(asked.await, Err(Error::Connect(_))));
}
