use std::{path::PathBuf, time::Duration};

use super::{Secret, decode::Cursor, fields::Fields};

/// The listener, who may come in, and the limits. Sizes are in bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Server {
    /// The address to listen on; `127.0.0.1`.
    pub host: String,
    /// The port to listen on, 0 for any; 8000.
    pub port: u16,
    /// The keys that clients may use; without any, everybody may come in.
    pub api_keys: Vec<Secret>,
    /// The keys of the admin paths; without any, these are closed.
    pub admin_keys: Vec<Secret>,
    /// The longest request body; 32 MiB.
    pub body_limit: usize,
    /// The longest request head; 64 KiB.
    pub header_limit: usize,
    /// How long a whole request head may take; 10 s.
    pub header_timeout: Duration,
    /// How long a request body may be silent; 30 s.
    pub body_timeout: Duration,
    /// How long a connection may be idle; 75 s. Zero keeps none: each answer closes its connection.
    pub keep_alive_timeout: Duration,
    /// More connections than this are refused; 20,000.
    pub max_connections: usize,
    /// More requests than this at a time are refused; 10,000.
    pub max_in_flight: usize,
    /// How much may be sent more than once.
    pub retry_budget: RetryBudget,
    /// How long a shutdown waits for requests to end; 30 s. Zero cuts them at once.
    pub shutdown_timeout: Duration,
    /// Certificate and key, if it is to speak TLS.
    pub tls: Option<Tls>,
}

/// How much of all that is sent to providers may be sent again, to the same one or to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// Retries for each request; 3.
    pub ratio: f64,
    /// Retries a second, however few requests come; 10.
    pub floor: u32,
    /// Retries that can be saved up; 10,000.
    pub burst: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { ratio: 3.0, floor: 10, burst: 10_000 }
    }
}

/// The PEM files of a listener that speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// The certificate chain, the server's own certificate first.
    pub cert: PathBuf,
    /// The private key of the first certificate.
    pub key: PathBuf,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 8000,
            api_keys: Vec::new(),
            admin_keys: Vec::new(),
            body_limit: 32 << 20,
            header_limit: 64 << 10,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(75),
            max_connections: 20_000,
            max_in_flight: 10_000,
            retry_budget: RetryBudget::default(),
            shutdown_timeout: Duration::from_secs(30),
            tls: None,
        }
    }
}

impl Server {
    pub(super) fn decode(at: Cursor<'_>) -> Option<Self> {
        let mut fields = Fields::of(at)?;
        let usual = Self::default();
        let port = |port: Cursor<'_>| port.integer(0..=u64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok());
        let server = Self {
            host: fields.optional("host", Cursor::name).unwrap_or(usual.host),
            port: fields.optional("port", port).unwrap_or(usual.port),
            api_keys: fields.optional("api_keys", secrets).unwrap_or_default(),
            admin_keys: fields.optional("admin_keys", secrets).unwrap_or_default(),
            body_limit: fields.optional("body_limit", Cursor::limit).unwrap_or(usual.body_limit),
            header_limit: fields.optional("header_limit", Cursor::limit).unwrap_or(usual.header_limit),
            header_timeout: fields.optional("header_timeout", Cursor::timeout).unwrap_or(usual.header_timeout),
            body_timeout: fields.optional("body_timeout", Cursor::timeout).unwrap_or(usual.body_timeout),
            keep_alive_timeout: fields
                .optional("keep_alive_timeout", Cursor::duration)
                .unwrap_or(usual.keep_alive_timeout),
            max_connections: fields.optional("max_connections", Cursor::count).unwrap_or(usual.max_connections),
            max_in_flight: fields.optional("max_in_flight", Cursor::count).unwrap_or(usual.max_in_flight),
            retry_budget: fields.optional("retry_budget", RetryBudget::decode).unwrap_or_default(),
            shutdown_timeout: fields.optional("shutdown_timeout", Cursor::duration).unwrap_or(usual.shutdown_timeout),
            tls: fields.optional("tls", Tls::decode),
        };
        fields.finish();
        Some(server)
    }
}

impl RetryBudget {
    fn decode(at: Cursor<'_>) -> Option<Self> {
        let mut fields = Fields::of(at)?;
        let usual = Self::default();
        let count = |at: Cursor<'_>| at.integer(0..=u64::from(u32::MAX)).and_then(|count| u32::try_from(count).ok());
        let budget = Self {
            ratio: fields.optional("ratio", |at| at.number(0.0..=f64::INFINITY)).unwrap_or(usual.ratio),
            floor: fields.optional("floor", count).unwrap_or(usual.floor),
            burst: fields.optional("burst", count).unwrap_or(usual.burst),
        };
        fields.finish();
        Some(budget)
    }
}

impl Tls {
    fn decode(at: Cursor<'_>) -> Option<Self> {
        let mut fields = Fields::of(at)?;
        let (cert, key) = (fields.required("cert", readable), fields.required("key", readable));
        fields.finish();
        Some(Self { cert: cert?, key: key? })
    }
}

/// The path of a file that is there. What is in it the server finds out.
fn readable(at: Cursor<'_>) -> Option<PathBuf> {
    let path = at.path()?;
    match std::fs::File::open(&path) {
        Ok(_) => Some(path),
        Err(error) => {
            let error = at.error(format!("{} cannot be read: {error}", path.display()));
            at.fail(error.label("expected a PEM file").help("a relative path starts at the configuration's folder"))
        }
    }
}

/// A list of keys, in which an empty one is an error: it would let in everybody, or nobody, and say neither.
fn secrets(at: Cursor<'_>) -> Option<Vec<Secret>> {
    at.list(|item| {
        let text = item.string()?;
        if text.trim().is_empty() {
            return item.fail(item.error("a key is empty").label("expected a key"));
        }
        item.note_secret();
        Some(Secret::new(text))
    })
}
