use std::{
    collections::BTreeSet,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt as _,
    net::{
        TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use super::{
    Headers, Reply, Step, guard,
    wire::{Framing, Reader},
};

/// A request as it arrived at an [`Upstream`].
#[derive(Clone, Debug)]
pub struct Received {
    /// The method.
    pub method: String,
    /// The target of the request line, with its query.
    pub target: String,
    /// The header fields.
    pub headers: Headers,
    /// The whole body, without its framing.
    pub body: Bytes,
    /// The connection it came on; the first is 0.
    pub connection: usize,
}

impl Received {
    /// The first value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }
}

/// A scripted provider on a port of its own, which records what it is asked.
///
/// Everything stops when it is dropped. If the script panicked, the drop does too: a panic in a connection's task would
/// go unseen.
pub struct Upstream {
    addr: SocketAddr,
    log: watch::Receiver<Log>,
    sent: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Log {
    requests: Vec<Received>,
    connections: usize,
    open: BTreeSet<usize>,
    panicked: bool,
}

type Script = dyn Fn(Received) -> Reply + Send + Sync;

impl Upstream {
    /// Answers each request as `script` says.
    pub fn start(script: impl Fn(Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = bound().listen(1024).expect("a bound socket listens");
        let addr = listener.local_addr().expect("a listener has an address");
        let (log, seen) = watch::channel(Log::default());
        let (log, script, sent) = (Arc::new(log), Arc::new(script) as Arc<Script>, Arc::new(AtomicU64::new(0)));
        let counted = sent.clone();
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                // Running out of file descriptors is the only error to expect; there is no going on from it.
                let (stream, _) = listener.accept().await.expect("accepts");
                // A script that pauses between bytes wants them to travel one by one.
                let _ = stream.set_nodelay(true);
                let connection = Connection::open(log.clone(), counted.clone());
                connections.spawn(connection.serve(stream, script.clone()));
            }
        });
        Self { addr, log: seen, sent, accepting }
    }

    /// Answers each request alike.
    pub fn always(reply: Reply) -> Self {
        Self::start(move |_| reply.clone())
    }

    /// Answers the first request with the first reply, and so on. One request too many fails the test.
    pub fn script(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies = Mutex::new(replies.into_iter().collect::<std::collections::VecDeque<_>>());
        Self::start(move |request| {
            let next = replies.lock().expect("nothing panics under the lock").pop_front();
            next.unwrap_or_else(|| panic!("the script has no reply for {} {}", request.method, request.target))
        })
    }

    /// The address to connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of a path, such as `/v1`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// The requests that have arrived whole, in order.
    pub fn requests(&self) -> Vec<Received> {
        self.log.borrow().requests.clone()
    }

    /// The only request; a test where there are more, or none, has failed.
    pub fn request(&self) -> Received {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "one request was expected: {requests:#?}");
        requests.into_iter().next().expect("there is one")
    }

    /// Waits until `n` requests have arrived.
    pub async fn wait_for(&self, n: usize) -> Vec<Received> {
        self.wait(&format!("request {n}"), |log| log.requests.len() >= n).await;
        self.requests()
    }

    /// How many connections were ever made.
    pub fn connections(&self) -> usize {
        self.log.borrow().connections
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.log.borrow().open.len()
    }

    /// Waits until a connection is gone. While the script stalls or waits, only the peer can end it.
    pub async fn closed(&self, connection: usize) {
        let what = format!("the end of connection {connection}");
        self.wait(&what, |log| log.connections > connection && !log.open.contains(&connection)).await;
    }

    /// Waits until no connection is open.
    pub async fn all_closed(&self) {
        self.wait("the end of every connection", |log| log.open.is_empty()).await;
    }

    /// How many bytes the sockets have taken. A peer that stops reading makes this stand still.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    async fn wait(&self, what: &str, condition: impl FnMut(&Log) -> bool) {
        let mut log = self.log.clone();
        guard(what, log.wait_for(condition)).await.expect("the listener lives as long as this handle");
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // The task owns the listener and the set of connections.
        self.accepting.abort();
        assert!(!self.log.borrow().panicked || std::thread::panicking(), "the script of an upstream panicked");
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// One accepted connection. Its end is logged on drop, so that it is logged whatever ends it.
struct Connection {
    id: usize,
    log: Arc<watch::Sender<Log>>,
    sent: Arc<AtomicU64>,
}

enum Next {
    Request,
    Close,
    Reset,
}

impl Connection {
    fn open(log: Arc<watch::Sender<Log>>, sent: Arc<AtomicU64>) -> Self {
        let mut id = 0;
        log.send_modify(|log| {
            id = log.connections;
            log.connections += 1;
            log.open.insert(id);
        });
        Self { id, log, sent }
    }

    async fn serve(self, stream: TcpStream, script: Arc<Script>) {
        let (read, mut write) = stream.into_split();
        let mut reader = Reader::new(read);
        while let Ok(Some(received)) = self.receive(&mut reader).await {
            self.log.send_modify(|log| log.requests.push(received.clone()));
            let reply = script(received);
            let next = tokio::select! {
                biased;
                next = self.play(&reply, &mut write) => next,
                _ = reader.closed() => Ok(Next::Close),
            };
            match next {
                Ok(Next::Request) => {}
                Ok(Next::Close) | Err(_) => break,
                Ok(Next::Reset) => {
                    write.as_ref().set_zero_linger().expect("an open socket takes the option");
                    // Dropped as usual, this half would first shut down in good order.
                    write.forget();
                    break;
                }
            }
        }
    }

    async fn receive(&self, reader: &mut Reader<OwnedReadHalf>) -> io::Result<Option<Received>> {
        let Some(head) = reader.head(Framing::of_request).await? else { return Ok(None) };
        let mut body = Vec::new();
        while let Some(piece) = reader.piece().await? {
            body.extend_from_slice(&piece);
        }
        let (method, target) = (head.word(0).to_owned(), head.word(1).to_owned());
        Ok(Some(Received { method, target, headers: head.headers, body: body.into(), connection: self.id }))
    }

    async fn play(&self, reply: &Reply, write: &mut OwnedWriteHalf) -> io::Result<Next> {
        for step in &reply.steps {
            match step {
                Step::Gate(gate) => gate.pass().await,
                Step::Pause(pause) => tokio::time::sleep(*pause).await,
                Step::Stall => std::future::pending().await,
                Step::Close => return Ok(Next::Close),
                Step::Reset => return Ok(Next::Reset),
                Step::Head | Step::Data(_) | Step::End(_) | Step::Raw(_) => {
                    let bytes = reply.bytes(step).unwrap_or_default();
                    self.send(&bytes, reply.trickle, write).await?;
                }
            }
        }
        Ok(Next::Request)
    }

    async fn send(&self, mut bytes: &[u8], trickle: Option<Duration>, write: &mut OwnedWriteHalf) -> io::Result<()> {
        while !bytes.is_empty() {
            let most = if trickle.is_some() { 1 } else { bytes.len() };
            let sent = write.write(&bytes[..most]).await?;
            self.sent.fetch_add(sent as u64, Ordering::SeqCst);
            bytes = &bytes[sent..];
            if let Some(pause) = trickle {
                tokio::time::sleep(pause).await;
            }
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.log.send_modify(|log| {
            log.open.remove(&self.id);
            log.panicked |= std::thread::panicking();
        });
    }
}

/// A port where every connection is refused, for as long as this is kept.
#[derive(Debug)]
pub struct Refusing {
    // Bound and not listening: so no other test can be given the port.
    socket: TcpSocket,
}

impl Refusing {
    /// Takes a free port.
    pub fn new() -> Self {
        Self { socket: bound() }
    }

    /// The address that refuses.
    pub fn addr(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket has an address")
    }

    /// The URL of a path there.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr())
    }
}

/// A socket on a free port of 127.0.0.1.
pub(super) fn bound() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    socket
}
