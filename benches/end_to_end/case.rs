use crate::Failure;

/// One kind of request, and how many of them make a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// The size of the request body in bytes.
    request: usize,
    /// What the provider is asked for: see [`mock`](crate::mock).
    query: &'static str,
    /// How many `data:` lines the answer has.
    pub(crate) events: usize,
    pub(crate) connections: usize,
    pub(crate) requests: usize,
}

const KIB: usize = 1024;

/// Under load: the connections are always busy.
pub(crate) const LOADED: [Case; 5] = [
    Case {
        name: "small",
        what: "1 KiB request, 1 KiB answer",
        request: KIB,
        query: "",
        events: 0,
        connections: 64,
        requests: 20_000,
    },
    Case {
        name: "medium",
        what: "32 KiB request, 1 KiB answer",
        request: 32 * KIB,
        query: "",
        events: 0,
        connections: 64,
        requests: 10_000,
    },
    Case {
        name: "large",
        what: "1 MiB request, 1 KiB answer",
        request: 1024 * KIB,
        query: "",
        events: 0,
        connections: 64,
        requests: 1000,
    },
    Case {
        name: "stream",
        what: "stream of 64 events, each sent by itself",
        request: KIB,
        query: "?events=64",
        events: 65,
        connections: 64,
        requests: 2000,
    },
    Case {
        name: "burst",
        what: "stream of 64 events, sent at once",
        request: KIB,
        query: "?events=64&whole=1",
        events: 65,
        connections: 64,
        requests: 5000,
    },
];

/// One request after the other, to count instructions: with the time in between, every event is read by itself however
/// slow the server is.
pub(crate) const COUNTED: [Case; 4] = [
    Case { name: "small", what: "1 KiB", request: KIB, query: "", events: 0, connections: 1, requests: 400 },
    Case { name: "medium", what: "32 KiB", request: 32 * KIB, query: "", events: 0, connections: 1, requests: 400 },
    Case {
        name: "stream",
        what: "64 events",
        request: KIB,
        query: "?events=64&gap=1",
        events: 65,
        connections: 1,
        requests: 40,
    },
    Case { name: "large", what: "1 MiB", request: 1024 * KIB, query: "", events: 0, connections: 1, requests: 40 },
];

impl Case {
    /// The case of a name as [`Case::spec`] gave it.
    pub(crate) fn parse(spec: &str) -> Result<Self, Failure> {
        let mut parts = spec.split(':');
        let mut part = || parts.next().ok_or("the name of a case is `list:name:requests:model`");
        let list: &[Self] = if part()? == "loaded" { &LOADED } else { &COUNTED };
        let name = part()?;
        let case = list.iter().find(|case| case.name == name).ok_or("no such case")?;
        Ok(Self { requests: part()?.parse()?, ..*case })
    }

    /// Names the case on a command line, with another number of requests.
    pub(crate) fn spec(list: &str, name: &str, requests: usize) -> String {
        format!("{list}:{name}:{requests}")
    }

    /// The whole request, head and body, as a client's SDK sends it.
    pub(crate) fn request(&self, host: &str) -> Vec<u8> {
        request(host, self.query, &body("my-gpt4", self.request, self.events > 0))
    }
}

/// A request for chat completions with the headers that OpenAI's SDK for Python sends.
pub(crate) fn request(host: &str, query: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /v1/chat/completions{query} HTTP/1.1\r\nhost: {host}\r\naccept-encoding: gzip, deflate\r\n\
         connection: keep-alive\r\naccept: application/json\r\ncontent-type: application/json\r\n\
         user-agent: OpenAI/Python 1.99.1\r\nx-stainless-lang: python\r\nx-stainless-package-version: 1.99.1\r\n\
         x-stainless-os: Linux\r\nx-stainless-arch: x64\r\nx-stainless-runtime: CPython\r\n\
         x-stainless-runtime-version: 3.12.1\r\nauthorization: Bearer sk-a-key-of-the-client\r\n\
         x-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A chat of about this size in bytes, in messages of up to 2 KiB with quotes and line ends in them, as text has.
pub(crate) fn body(model: &str, size: usize, stream: bool) -> String {
    const TEXT: &str = "The signalman said: \\\"All clear on the down line\\\", and set the points.\\n";
    let mut body = format!("{{\"model\":\"{model}\",\"stream\":{stream},\"temperature\":0.7,\"messages\":[");
    let mut role = "system";
    loop {
        body.push_str(&format!("{{\"role\":\"{role}\",\"content\":\""));
        let end = (body.len() + 2 * KIB).min(size);
        while body.len() + TEXT.len() + 4 <= end {
            body.push_str(TEXT);
        }
        body.push_str("\"}");
        if body.len() + 3 * TEXT.len() > size {
            break;
        }
        body.push(',');
        role = if role == "user" { "assistant" } else { "user" };
    }
    body.push_str("]}");
    body
}
