//! The provider: it reads requests no further than it must and answers with fixed bytes, so that it costs little.
//!
//! The query says what the answer is: nothing, 1 KiB of JSON; `events=N`, a stream of so many, written one by one;
//! `gap=MS` with a pause before each; `whole=1` all in one write; `hold=1` without an end.

use std::{
    io::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use memchr::memmem;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::Failure;

const HEADERS: &str = "server: mock\r\ndate: Sat, 21 Nov 2026 06:00:00 GMT\r\nx-request-id: req_0123456789abcdef\r\n\
                       openai-processing-ms: 42\r\nopenai-version: 2020-10-01\r\nx-ratelimit-remaining-requests: 9999\r\n";

pub(crate) fn run() -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on http://{}", listener.local_addr()?);
        let completion: &'static [u8] = completion().leak();
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                // A client that leaves is no failure.
                let _ = serve(stream, completion).await;
            });
        }
    })
}

fn completion() -> Vec<u8> {
    let text = "Set the points, and the train goes where it should. ".repeat(16);
    json(&format!(
        "{{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"gpt-4o\",\"choices\":[\
         {{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\"}},\"finish_reason\":\"stop\"}}],\
         \"usage\":{{\"prompt_tokens\":12,\"completion_tokens\":160,\"total_tokens\":172}}}}"
    ))
}

fn json(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{HEADERS}content-length: {length}\r\n\r\n{body}")
        .into()
}

/// What the query of a request asks for.
#[derive(Debug, Default)]
struct Answer {
    events: usize,
    gap: u64,
    whole: bool,
    hold: bool,
}

impl Answer {
    fn of(target: &str) -> Result<Self, Failure> {
        let mut answer = Self::default();
        for (name, value) in target.split(['?', '&']).filter_map(|pair| pair.split_once('=')) {
            match name {
                "events" => answer.events = value.parse()?,
                "gap" => answer.gap = value.parse()?,
                "whole" => answer.whole = true,
                "hold" => answer.hold = true,
                _ => return Err(format!("the query has `{name}`").into()),
            }
        }
        Ok(answer)
    }
}

async fn serve(mut stream: TcpStream, completion: &[u8]) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 4 * 1024];
    let mut filled = 0;
    loop {
        let end = loop {
            if let Some(end) = memmem::find(&buffer[..filled], b"\r\n\r\n") {
                break end + 4;
            }
            if filled == buffer.len() {
                buffer.resize(2 * filled, 0);
            }
            match stream.read(&mut buffer[filled..]).await? {
                0 => return Ok(()),
                read => filled += read,
            }
        };
        let head = std::str::from_utf8(&buffer[..end])?;
        let length: usize = header(head, "content-length").map_or(Ok(0), str::parse)?;
        let target = head.split(' ').nth(1).ok_or("no target")?.to_owned();
        let mut missing = length.saturating_sub(filled - end);
        filled = 0;
        if missing > 64 * 1024 {
            buffer.resize(64 * 1024, 0);
        }
        while missing > 0 {
            match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                read => missing = missing.checked_sub(read).ok_or("more than the body came")?,
            }
        }
        let answer = Answer::of(&target)?;
        if target.ends_with("/balance") {
            stream.write_all(&json("{\"balance\": 100.5}")).await?;
        } else if answer.events == 0 {
            stream.write_all(completion).await?;
        } else {
            send_events(&mut stream, &answer).await?;
        }
    }
}

/// The value of a header, whose name is compared in any case.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(given, _)| given.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

async fn send_events(stream: &mut TcpStream, answer: &Answer) -> Result<(), Failure> {
    let mut out = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n{HEADERS}transfer-encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    stream.write_all(&out).await?;
    out.clear();
    for number in 0..answer.events {
        if answer.gap > 0 {
            tokio::time::sleep(Duration::from_millis(answer.gap)).await;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let event = format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"gpt-4o\",\
             \"sent\":{now},\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" token {number}\"}},\
             \"finish_reason\":null}}]}}\n\n"
        );
        write!(out, "{:x}\r\n{event}\r\n", event.len())?;
        if !answer.whole {
            stream.write_all(&out).await?;
            out.clear();
            // The turn of the other streams: what is sent at once is read at once.
            tokio::task::yield_now().await;
        }
    }
    if answer.hold {
        stream.read_u8().await?;
        return Ok(());
    }
    out.extend_from_slice(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
    stream.write_all(&out).await?;
    Ok(())
}
