use std::time::SystemTime;

/// The wall clock, moved along with tokio's: where that is paused and advanced, tokens expire by it.
///
/// Everywhere else the two monotonic clocks are one, and this is the system's time, which unlike theirs goes on while
/// the machine sleeps.
#[expect(clippy::disallowed_methods, reason = "this is what tokio's clock is compared with")]
pub(super) fn now() -> SystemTime {
    let real = std::time::Instant::now();
    let tokio = tokio::time::Instant::now().into_std();
    let (ahead, behind) = (tokio.saturating_duration_since(real), real.saturating_duration_since(tokio));
    SystemTime::now() + ahead - behind
}
