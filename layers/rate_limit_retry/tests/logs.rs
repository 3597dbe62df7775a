use std::fmt::{self, Write as _};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::*;

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Level, String)>>>);

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("pointsman_layers")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
                write!(self.0, "{value:?}").unwrap();
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push((*event.metadata().level(), message.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_backoff_can_be_followed_in_the_log() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let layer = layer().label("Qwen OAuth connector-wide");
    let upstream = Upstream::new([limited("5")]);
    let first = send(&layer, &upstream, request());
    let second = async {
        tokio::time::sleep(seconds(2)).await;
        send(&layer, &upstream, request()).await
    };
    tokio::join!(first, second);
    let expected = [
        "Qwen OAuth connector-wide rate-limit backoff recorded: wait=5.000s",
        "Qwen OAuth connector-wide rate-limit backoff active: remaining=3.000s",
    ];
    assert_eq!(*log.0.lock().unwrap(), expected.map(|message| (Level::DEBUG, message.to_owned())));
}
